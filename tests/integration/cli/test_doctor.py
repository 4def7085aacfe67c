"""``branchline doctor``: whatever is wrong is a finding with a remedy, and never a traceback."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import psycopg
import pytest

from runtime import settings
from runtime.cli import doctor
from runtime.store import Database, migrate, outbox
from runtime.testing.ports import free_port
from tests.support.certificates import certificate_for, server_context
from tests.support.command_line import Command
from tests.support.rabbitmq import RabbitMQ

Examine = Callable[..., dict[str, doctor.Finding]]
STORED = {"pool", "pools", "clocks", "sandbox", "reaper", "outbox"}


@pytest.fixture
def examine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Examine:
    """What doctor finds with some variables, the worst of each thing; nothing else listens."""

    def call(**variables: str) -> dict[str, doctor.Finding]:
        environ = {
            "BRANCHLINE_HOME": str(tmp_path / "home"),
            "PORT": str(free_port()),
            "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
            **variables,
        }
        monkeypatch.setattr(doctor, "current", lambda: settings.load(environ))
        found: dict[str, doctor.Finding] = {}
        for finding in doctor._examine():
            assert "\n" not in finding.found
            if finding.about not in found or found[finding.about].remedy is None:
                found[finding.about] = finding
        return found

    return call


def assert_remedy(finding: doctor.Finding, *words: str) -> None:
    assert finding.remedy, finding
    for word in words:
        assert word in finding.found + finding.remedy


@pytest.mark.parametrize(
    ("variables", "about", "words"),
    [
        ({"DATABASE_URL": "garbage"}, "settings", ["not a URL", "postgresql://"]),
        ({"DATABASE_URL": "mysql://ada@h/x"}, "settings", ["scheme", "postgresql"]),
        ({"DATABASE_URL": "postgresql://ada:100%@h/x"}, "database", ["%25", "settings.md"]),
        ({"REDIS_URL": "sentinel://h:26379/0"}, "settings", ["sentinels", "primary"]),
        ({"BROKER_URL": "ampq://h"}, "settings", ["amqp://"]),
        ({"DATABASE_URL": "sqlite:////proc/x/y.db"}, "database", ["/proc/x/y.db", "rights"]),
        ({"DATABASE_URL": "sqlite:////proc"}, "database", ["/proc", "rights"]),
        ({"DATABASE_URL": "postgresql:///x?host=/nowhere"}, "database", ["Start its server"]),
        ({"DATABASE_URL": "postgresql:///?service=none"}, "database", ["PGSERVICEFILE"]),
        ({"PORT": "many"}, "settings", ["PORT", "settings.md"]),
        ({"WORKERS_PATH": "/proc/nowhere"}, "workers", ["/proc/nowhere", "WORKERS_PATH"]),
        ({"API_URL": "http://[::1"}, "settings", ["API_URL"]),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_what_cannot_be_used_is_a_finding(
    examine: Examine, variables: Mapping[str, str], about: str, words: list[str]
) -> None:
    assert_remedy(examine(**variables)[about], *words)


def test_a_data_folder_that_is_no_folder_is_a_finding(examine: Examine, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = examine(BRANCHLINE_HOME=str(tmp_path / "file"), REDIS_URL="")
    assert_remedy(found["redis"], "BRANCHLINE_HOME")


def test_a_database_that_is_not_migrated_is_one_finding(examine: Examine, empty_postgresql_url: str) -> None:
    found = examine(DATABASE_URL=empty_postgresql_url)
    assert_remedy(found["database"], "branchline migrate", "pools")
    assert not STORED & found.keys(), "they would say the same again"


def test_a_database_that_does_not_exist_is_to_be_created(examine: Examine, postgresql_server: str) -> None:
    found = examine(DATABASE_URL=postgresql_server.rpartition("/")[0] + "/nothing_of_the_kind")
    assert_remedy(found["database"], "createdb")


@pytest.mark.parametrize(
    "tables",
    [
        ["alembic_version (version_num varchar(32))", "invoices (id integer)"],
        ["runs (id integer)", "invoices (id integer)"],
    ],
)
def test_the_database_of_another_program_is_left_alone(
    examine: Examine, branchline: Command, empty_postgresql_url: str, tables: list[str]
) -> None:
    with psycopg.connect(empty_postgresql_url) as connection:
        for table in tables:
            connection.execute(f"CREATE TABLE {table}")
        if "version" in tables[0]:
            connection.execute("INSERT INTO alembic_version VALUES ('0001'), ('3ac1')")

    assert_remedy(examine(DATABASE_URL=empty_postgresql_url)["database"], "another program", "invoices")
    done = branchline("migrate", DATABASE_URL=empty_postgresql_url)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "another program" in done.stderr


def test_a_file_that_is_no_database_is_a_finding(examine: Examine, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Not a database at all. " * 50)
    assert_remedy(examine(DATABASE_URL=f"sqlite:///{tmp_path}/notes.txt")["database"], "no SQLite", "backup")


def test_a_user_without_rights_is_a_finding(examine: Examine, empty_postgresql_url: str) -> None:
    migrate.upgrade(empty_postgresql_url)
    with psycopg.connect(empty_postgresql_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE branchline_stranger LOGIN")
        try:
            found = examine(DATABASE_URL=empty_postgresql_url.replace("postgres@", "branchline_stranger@"))
        finally:
            connection.execute("DROP ROLE branchline_stranger")
    assert_remedy(found["database"], "right", "OWNER")


def test_the_schema_of_a_later_version_is_mentioned(examine: Examine, sqlite_url: str) -> None:
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    found = examine(DATABASE_URL=sqlite_url)
    assert found["database"].remedy is None
    assert "later version" in found["database"].found
    assert {"pool", "clocks", "reaper"} <= found.keys()


@pytest.mark.rabbitmq
def test_an_unknown_virtual_host_is_a_finding(examine: Examine, rabbitmq: RabbitMQ) -> None:
    url = rabbitmq.url.rpartition("/")[0]
    found = examine(BROKER_URL=f"{url}/nothing_of_the_kind")
    assert_remedy(found["broker"], "not found", "add_vhost")
    assert not found["broker"].found.startswith("it refuses the queue")


@pytest.mark.rabbitmq
def test_a_wrong_password_of_the_broker_is_a_finding(examine: Examine, rabbitmq: RabbitMQ) -> None:
    host = rabbitmq.url.rpartition("@")[2]
    found = examine(BROKER_URL=f"amqp://branchline:s3cr3t@{host}")
    assert_remedy(found["broker"], "password", "BROKER_URL")
    assert "s3cr3t" not in found["broker"].found


def test_a_redis_of_another_password_is_a_finding(
    examine: Examine, redis_server: object, redis_url: str
) -> None:
    where = redis_url.rpartition("@")[2].removeprefix("redis://").rpartition("/")[0]
    assert_remedy(examine(REDIS_URL=f"redis://:wrong@{where}/0")["redis"], "password")
    assert_remedy(examine(REDIS_URL=f"redis://{where}/9999")["redis"], "number")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:s3cr3t@h:1/0", "redis://h:1/0"),
        ("redis://h:1/0?username=ada&password=s3cr3t", "redis://h:1/0"),
        ("amqp://ada:s3cr3t@one//;amqp://ada:s3cr3t@two//", "amqp://one//;two//"),
        ("amqp://one//;amqp://two//", "amqp://one//;two//"),
        ("unix://ada:s3cr3t@/run/redis.sock?db=1", "unix:///run/redis.sock"),
    ],
)
def test_a_url_is_shown_without_its_passwords(url: str, shown: str) -> None:
    assert doctor._without_password(url) == shown


@contextmanager
def answering(body: bytes, status: int, certificate: Path | None = None) -> Iterator[int]:
    """A web server that answers everything with the same; over TLS where it has a certificate."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        if certificate is not None:
            server.socket = server_context(certificate).wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"<h1>Hello</h1>", 200, ["another program", "PORT"]),
        (b"[]", 404, ["another program", "PORT"]),
        (
            json.dumps({"missing": [{"what": "redis", "why": "it is away"}]}).encode(),
            503,
            ["redis: it is away", "other settings"],
        ),
    ],
)
def test_what_answers_in_place_of_a_ready_web_process_is_a_finding(
    examine: Examine, body: bytes, status: int, words: list[str]
) -> None:
    with answering(body, status) as port:
        assert_remedy(examine(PORT=str(port))["web"], *words)


def test_the_authority_of_a_certificate_is_named_by_ssl_cert_file(
    examine: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = certificate_for("localhost", tmp_path)
    with answering(b"[]", 404, certificate) as port:
        url = f"https://localhost:{port}"
        assert_remedy(examine(API_URL=url)["web"], "certificate verify failed", "SSL_CERT_FILE")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert_remedy(examine(API_URL=url)["web"], "another program")


def test_an_error_that_nobody_foresaw_is_a_finding(
    examine: Examine, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("line 1\nline 2")

    monkeypatch.setattr("runtime.store.recovery.expired", fail)
    assert_remedy(examine(DATABASE_URL=sqlite_url)["reaper"], "RuntimeError: line 1 line 2")


@pytest.mark.parametrize(
    "command", ["runs list", "user add ada@example.com --password long-enough", "token create a@b"]
)
def test_a_command_says_that_the_database_is_not_migrated(branchline: Command, command: str) -> None:
    done = branchline(*command.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("Run: branchline migrate\n")


def test_tasks_that_were_given_up_are_a_finding(examine: Examine, sqlite_url: str) -> None:
    assert examine(DATABASE_URL=sqlite_url)["outbox"].remedy is None
    database = Database(sqlite_url, settings.load({}).database)
    database.write(outbox.put, "greet", "ada")
    (task,) = database.write(outbox.take, ["greet"])
    database.write(outbox.failed, task, "Conflict: not today", None)
    database.close()

    found = examine(DATABASE_URL=sqlite_url)["outbox"]

    assert_remedy(found, "1 tasks were tried", "branchline outbox list")


def test_a_pool_is_missing_where_a_worker_of_it_could_run(
    examine: Examine, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AGENT_SERVICE_URL", raising=False)
    examine(DATABASE_URL=sqlite_url)

    remedies = {one.found.partition(":")[0]: one.remedy for one in doctor._examine() if one.about == "pool"}

    assert remedies["http"] is None
    assert remedies["exec"] == "Start it: branchline pool exec"
