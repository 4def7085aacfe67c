"""The migrations make exactly the tables that the code uses."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from runtime.errors import ConfigurationError, StoreUnavailable
from runtime.model import User, new_id
from runtime.settings import CHECKOUT, Settings
from runtime.store import Database, migrate, tables, users
from runtime.store.tables import metadata, now


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return str(request.getfixturevalue("empty_postgresql_url"))


@contextmanager
def downgrade(url: str, revision: str) -> Iterator[sa.Connection]:
    """Go back to a migration, in a transaction that lasts as long as the ``with``.

    Private names of migrate: no command of ours goes back.
    """
    with migrate._transaction(url, alone=True) as connection:
        command.downgrade(migrate._config(connection), revision)
        yield connection


@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index")
def test_the_migrated_database_has_the_tables_of_the_code(database: Database) -> None:
    def differences(c: sa.Connection) -> list[Any]:
        options = {
            "compare_type": True,
            "compare_server_default": True,
            # On SQLite the comparison cannot see that the first descends, nor that it lacks the second; the
            # next test compares all indexes. What begins so is its full text index.
            "include_object": lambda _, name, *__: (
                name not in ("ix_runs_backlog", "ix_knowledge_passages_words")
                and not name.startswith("knowledge_words")
            ),
        }
        context = MigrationContext.configure(c, opts=options)
        return compare_metadata(context, metadata)

    assert database.read(differences) == []


def test_the_migrated_database_has_the_indexes_of_the_code(empty_url: str, settings: Settings) -> None:
    database = Database(empty_url, settings.database)
    metadata.create_all(database.engine.connections)
    made_by_code = database.read(_definitions)
    metadata.drop_all(database.engine.connections)

    migrate.upgrade(empty_url)

    assert database.read(_definitions) == made_by_code
    database.close()


def test_a_new_database_is_brought_to_the_head_and_stays_there(empty_url: str) -> None:
    assert migrate.current(empty_url) is None

    migrate.upgrade(empty_url)
    migrate.upgrade(empty_url)

    assert migrate.current(empty_url) == migrate.head() == "0036"


def test_the_names_of_the_migrations_are_their_chain() -> None:
    scripts = ScriptDirectory(str(migrate._SCRIPTS))

    chain = [script.revision for script in scripts.walk_revisions()]
    assert chain[::-1] == migrate._known()


def test_to_ask_for_the_migration_of_a_database_imports_no_alembic(tmp_path: Path) -> None:
    asks = "import sys; from runtime.store import migrate; print(migrate.current(sys.argv[1]), *sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", asks, f"sqlite:///{tmp_path}/empty.db"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert told[0] == "None"
    assert "sqlalchemy" in told
    assert "alembic" not in told


def test_processes_that_start_at_once_migrate_once(empty_url: str) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as processes:
        processes.map_async(migrate.upgrade, [empty_url] * 4).get(timeout=60)

    assert migrate.current(empty_url) == migrate.head()


def test_a_migration_can_be_taken_back(empty_url: str) -> None:
    migrate.upgrade(empty_url)

    with downgrade(empty_url, "base") as connection:
        assert set(sa.inspect(connection).get_table_names()) == {"alembic_version"}


def test_a_process_of_the_version_before_signs_users_in_and_out(database: Database, user: User) -> None:
    """Its statements, as they were while the table of sign-ins was called ``sessions``."""
    old = sa.table("sessions", *(sa.column(column.name, column.type) for column in tables.logins.c))
    login = new_id()
    ended = (
        old.update()
        .where(old.c.id == login, old.c.ended_at.is_(None))
        .values(ended_at=now())
        .returning(old.c.user_id)
    )
    opened = old.insert().values(id=login, user_id=user.id, created_at=now(), expires_at=now(3600))

    database.write(lambda c: c.execute(opened))
    valid = (old.c.id == login, old.c.ended_at.is_(None), old.c.expires_at > now())
    assert database.read(lambda c: c.execute(sa.select(old.c.user_id).where(*valid)).scalar_one()) == user.id
    assert database.read(users.by_login, login) == user

    assert database.write(lambda c: c.execute(ended).scalar_one_or_none()) == user.id
    assert database.read(users.by_login, login) is None
    assert database.write(lambda c: c.execute(ended).scalar_one_or_none()) is None

    other = database.write(users.open_login, user.id, 1)
    everywhere = old.update().where(old.c.user_id == user.id, old.c.ended_at.is_(None)).values(ended_at=now())
    database.write(lambda c: c.execute(everywhere))
    assert database.read(users.by_login, other) is None


def test_sign_ins_outlive_the_renaming_of_their_table_in_both_directions(
    empty_url: str, settings: Settings
) -> None:
    migrate.upgrade(empty_url)
    database = Database(empty_url, settings.database)
    user = database.write(users.register, email="ada@example.com", password_hash="-")
    login = database.write(users.open_login, user.id, 1)
    database.close()

    with downgrade(empty_url, "0003") as connection:
        assert "sessions" in sa.inspect(connection).get_table_names()
        assert not sa.inspect(connection).get_view_names()
    migrate.upgrade(empty_url)

    assert database.read(users.by_login, login) == user
    database.close()


def test_a_database_of_a_later_version_is_left_alone(empty_url: str, settings: Settings) -> None:
    migrate.upgrade(empty_url)
    database = Database(empty_url, settings.database)
    database.write(lambda c: c.execute(sa.text("UPDATE alembic_version SET version_num = '9999'")))
    database.close()

    with pytest.raises(ConfigurationError, match="later version"):
        migrate.upgrade(empty_url)
    assert not migrate.is_behind(migrate.current(empty_url)), "this version runs on the schema of the next"


def test_a_database_is_behind_until_it_has_the_newest_migration() -> None:
    assert migrate.is_behind(None)
    assert migrate.is_behind("0001")
    assert not migrate.is_behind(migrate.head())


def test_the_renaming_of_sign_ins_gives_up_behind_a_long_read(empty_postgresql_url: str) -> None:
    migrate.upgrade(empty_postgresql_url)
    with downgrade(empty_postgresql_url, "0003"):
        pass
    with psycopg.connect(empty_postgresql_url) as reader:  # as a backup reads
        reader.execute("SELECT count(*) FROM sessions")

        with pytest.raises(StoreUnavailable, match="lock timeout"):
            migrate.upgrade(empty_postgresql_url)

    assert migrate.current(empty_postgresql_url) == "0003"
    migrate.upgrade(empty_postgresql_url)


def test_the_folder_of_a_database_is_made(tmp_path: Path) -> None:
    migrate.upgrade(f"sqlite:///{tmp_path / 'new' / 'branchline.db'}")

    assert (tmp_path / "new" / "branchline.db").exists()


def test_a_database_that_is_away_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        migrate.current("postgresql://postgres@127.0.0.1:1/none")


def _definitions(c: sa.Connection) -> set[str]:
    """Every index of the database in its own words."""
    if c.dialect.name == "sqlite":
        query = "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    else:
        query = (
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename != 'alembic_version'"
        )
    return set(c.execute(sa.text(query)).scalars())
