"""DATABASE_URL means one database: to the processes, to migrations, to the sandbox, and to libpq."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import psycopg
import pytest
import sqlalchemy as sa

from runtime.child.sandboxing import _private
from runtime.cli import doctor
from runtime.errors import ConfigurationError, StoreUnavailable
from runtime.settings import CHECKOUT, Settings, database_address, load
from runtime.store import Database, migrate
from runtime.testing.ports import free_port
from runtime.testing.postgresql_server import PostgreSQLServer
from tests.support.databases import own_postgresql

PASSWORD = "p %w@x/y#z?+ü"
ACCESS = """
local all all trust
host all postgres all trust
host all all all scram-sha-256
"""


@pytest.fixture(scope="module")
def sockets() -> Iterator[Path]:
    """A folder, with a space in its name, that PostgreSQL's user may use."""
    folder = Path(tempfile.mkdtemp(prefix="branchline sockets-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(sockets: Path) -> Iterator[PostgreSQLServer]:
    """A server that wants a password of all but ``postgres``, and listens on a socket as well."""
    access = sockets / "access.conf"
    access.write_text(ACCESS)
    with own_postgresql(hba_file=str(access), unix_socket_directories=f'"{sockets}"') as server:
        with psycopg.connect(server.url, autocommit=True) as c:
            c.execute("CREATE ROLE ada LOGIN SUPERUSER")
            c.execute(f"ALTER ROLE ada PASSWORD '{PASSWORD}'")
            c.execute("CREATE DATABASE branchline")
        with psycopg.connect(server.url, dbname="branchline", autocommit=True) as c:
            c.execute("CREATE SCHEMA apart")
        yield server


WHERE = "SELECT current_user, current_database(), current_schemas(false), inet_server_port()"


def reached(url: str, settings: Settings) -> tuple[Any, ...]:
    """The user, the database and the schemas that everybody reaches by ``url``: the same for all."""
    with closing(Database(url, settings.database)) as database:
        ours = database.read(lambda c: tuple(c.exec_driver_sql(WHERE).one()))
    with migrate._transaction(url, alone=False) as connection:
        assert tuple(connection.exec_driver_sql(WHERE).one()) == ours
    with psycopg.connect(url) as own:
        assert own.execute(WHERE).fetchone() == ours, "psql and pg_dump read it in another way"
    return ours


def test_a_password_may_have_any_character(server: PostgreSQLServer, settings: Settings) -> None:
    url = f"postgresql://ada:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}/branchline"
    assert reached(url, settings)[:2] == ("ada", "branchline")


@pytest.mark.parametrize("given", ["options=-csearch_path%3Dapart", "options=-c%20search_path%3Dapart"])
def test_the_options_of_a_session_hold_for_all(
    server: PostgreSQLServer, settings: Settings, given: str
) -> None:
    url = f"postgresql://postgres@127.0.0.1:{server.port}/branchline?{given}"
    assert reached(url, settings)[2] == ["apart"]

    migrate.upgrade(url)
    with closing(Database(url, settings.database)) as database:
        tables = database.read(lambda c: sa.inspect(c).get_table_names("apart"))
        limit = database.read(lambda c: c.exec_driver_sql("SHOW statement_timeout").scalar_one())
    assert {"alembic_version", "runs"} <= set(tables)
    assert limit == "10s", "what Branchline sets for its connections holds beside them"


def test_the_first_of_several_hosts_that_answers_is_taken(
    server: PostgreSQLServer, settings: Settings
) -> None:
    hosts = f"127.0.0.1:{free_port()},127.0.0.1:{server.port}"
    url = f"postgresql://postgres@{hosts}/branchline?target_session_attrs=read-write"
    assert reached(url, settings)[3] == server.port


@pytest.mark.parametrize(
    "form", ["/branchline?host={0}&port={1}&user=postgres", "postgres@{0}:{1}/branchline"]
)
def test_a_socket_is_named_by_its_folder(
    server: PostgreSQLServer, sockets: Path, settings: Settings, form: str
) -> None:
    url = "postgresql://" + form.format(quote(str(sockets), safe=""), server.port)
    assert reached(url, settings)[1:4] == ("branchline", ["public"], None)


def test_a_service_file_says_the_rest(
    server: PostgreSQLServer, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = tmp_path / "services.conf"
    services.write_text(
        f"[chat]\nhost=127.0.0.1\nport={server.port}\ndbname=branchline\nuser=postgres\n"
        "options=-csearch_path=apart\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    assert reached("postgresql:///?service=chat", settings)[:3] == ("postgres", "branchline", ["apart"])


@pytest.mark.parametrize("mode", ["require", "nonsense"])
def test_what_is_demanded_of_tls_holds_for_all(
    server: PostgreSQLServer, settings: Settings, mode: str
) -> None:
    url = f"postgresql://postgres@127.0.0.1:{server.port}/branchline?sslmode="
    assert reached(f"{url}disable", settings)[0] == "postgres"
    with pytest.raises(StoreUnavailable), closing(Database(url + mode, settings.database)) as database:
        database.read(lambda c: c.exec_driver_sql("SELECT 1"))
    with pytest.raises(StoreUnavailable, match=r"SSL|sslmode"):
        migrate.current(url + mode)


def test_a_stranger_has_the_address_but_no_password(
    server: PostgreSQLServer, sockets: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    on_socket = f"/branchline?host={quote(str(sockets), safe='')}&port={server.port}&user=ada"

    def is_open(rest: str) -> bool:
        with closing(Database(f"postgresql://{rest}", settings.database)) as database:
            return database.engine.is_open_to_all()

    assert not is_open(f"ada@127.0.0.1:{server.port}/branchline")
    assert not is_open(f"ada:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}/branchline")
    assert is_open(f"postgres:unneeded@127.0.0.1:{server.port}/branchline")
    assert is_open(on_socket)


@pytest.mark.parametrize(
    ("who", "remedy"),
    [
        ("ada:wrong@127.0.0.1:{port}/branchline", "Correct the user and the password"),
        ("ada@127.0.0.1:{port}/branchline", "Correct the user and the password"),
        ("postgres@127.0.0.1:{port}/none", "createdb"),
        ("nobody@/branchline?host={sockets}&port={port}", "createuser"),
        ("postgres@127.0.0.1:{port}/branchline?sslmode=require", "sslmode"),
        ("postgres@127.0.0.1:{unused}/branchline", "Start its server"),
        ("postgres@name.invalid/branchline", "Correct the host"),
    ],
)
def test_doctor_tells_the_reasons_why_nobody_gets_in(
    server: PostgreSQLServer, sockets: Path, who: str, remedy: str
) -> None:
    where = who.format(port=server.port, sockets=quote(str(sockets), safe=""), unused=free_port())
    with pytest.raises(StoreUnavailable) as refused:
        migrate.current(f"postgresql://{where}")
    assert remedy in doctor._of_database(database_address.parse(f"postgresql://{where}"), str(refused.value))


@pytest.mark.parametrize("name", ["with space.db", "a%20b.db", "50%.db", "änderung@1:2.db", "x#y.db"])
def test_the_path_of_a_file_is_taken_as_it_is_written(tmp_path: Path, settings: Settings, name: str) -> None:
    file = tmp_path / "some folder" / name
    url = f"sqlite:///{file}"

    migrate.upgrade(url)
    with closing(Database(url, settings.database)) as database:
        database.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM runs"))

    assert [path.name for path in file.parent.iterdir() if not path.name.endswith(("-wal", "-shm"))] == [name]
    assert file in _private(load({"DATABASE_URL": url, "BRANCHLINE_HOME": str(tmp_path / "home")}))


def test_a_relative_path_is_the_same_in_every_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = cast(database_address.SQLiteFile, database_address.parse("sqlite:///x.db"))
    assert found.path == CHECKOUT / "x.db"
    assert os.getcwd() != str(CHECKOUT)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("branchline", "not a URL"),
        ("mysql://ada:s3cr3t@h/db", "kind"),
        ("postgresql+asyncpg://ada:s3cr3t@h/db", "kind"),
        ("sqlite://", "names no file"),
        ("sqlite://folder/file.db", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:////file.db?mode=ro", "options"),
        ("postgresql://ada:s3cr3t %@h/db", "%20"),
        ("postgresql://ada:100%s3cr3t@h/db", "%25"),
        ("postgresql://ada:x@s3cr3t@h/db", "%40"),
        ("postgresql://ada:s3cr3t/x@h/db", "%2F"),
        ("postgresql://h:many/db", "port"),
        ("postgresql://ada:s3cr3t@h/db?pool_size=3", "query parameter"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence_without_the_password(url: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as refused:
        database_address.parse(url)
    assert "DATABASE_URL" in str(refused.value)
    assert "s3cr3t" not in str(refused.value)


def test_an_address_is_shown_without_its_password() -> None:
    shown = str(
        database_address.parse("postgresql://ada:s3cr3t@h1:1,h2:2/db?sslpassword=s3cr3t&sslmode=require")
    )
    assert "s3cr3t" not in shown
    assert "host=h1,h2" in shown and "sslmode=require" in shown
