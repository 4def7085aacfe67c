"""The fixtures of all tests: real databases, a real Redis, and settings of their own.

PostgreSQL is taken from BRANCHLINE_TEST_POSTGRESQL (a URL of a server where the
user may create databases), else looked for on 127.0.0.1:5432, RabbitMQ from
BRANCHLINE_TEST_RABBITMQ, else on 127.0.0.1:5672. Where there is none its tests
are skipped, but with CI=true they fail.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest
import redis

from runtime import settings as settings_module
from runtime.model import Thread, User
from runtime.panel import tables as _panel_tables  # noqa: F401 - registers them
from runtime.sessions import tables as _session_tables  # noqa: F401 - registers them
from runtime.settings import Settings
from runtime.store import Database, migrate, threads, users
from runtime.store.tables import metadata
from runtime.system import collector
from runtime.testing.client import Client
from runtime.testing.postgresql_server import temporary_database
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from tests.support import rabbitmq as rabbitmq_server
from tests.support.forked import Forks
from tests.support.rabbitmq import RabbitMQ
from tests.support.zygotes import Zygotes

POSTGRESQL = os.environ.get("BRANCHLINE_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/postgres")

NO_POSTGRESQL = (
    "No PostgreSQL answers at {url}. Start one (docker run --rm -p 5432:5432 "
    "-e POSTGRES_HOST_AUTH_METHOD=trust postgres:16) or set BRANCHLINE_TEST_POSTGRESQL."
)


_EMPTY = "; ".join(str(table.delete()) for table in reversed(metadata.sorted_tables)).encode()
"""Deletes every row: one query, for a thousand tests send it, and each is a way to the server and back."""

_LEAVE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
"""Ends all other connections to the database."""


def pytest_collection_finish() -> None:
    """What all test modules have imported stays: no collection of garbage looks at it again."""
    collector.settle()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On PostgreSQL, `make test` repeats only what the databases may do differently; CI repeats all."""
    ids = {item.nodeid for item in items}
    for item in items:
        on = getattr(item, "callspec", None) and item.callspec.params.get("database_url")
        if on != "postgresql" or item.get_closest_marker("databases"):
            continue
        if item.nodeid.replace("postgresql", "sqlite", 1) in ids:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The defaults, with a data folder of the test's own."""
    return settings_module.load({"BRANCHLINE_HOME": str(tmp_path / "home")})


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty, migrated database; the test runs once on each kind, in `make test` only where it is marked
    ``databases``."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def database(database_url: str, settings: Settings) -> Iterator[Database]:
    """The test's database, opened."""
    database = Database(database_url, settings.database)
    yield database
    database.close()


@pytest.fixture
def user(database: Database) -> User:
    """Somebody with an account."""
    return database.write(users.register, email="ada@example.com", password_hash="-", name="Ada")


@pytest.fixture
def thread(database: Database, user: User) -> Thread:
    """An empty thread of ``user``."""
    return database.write(threads.create, workspace_id=user.workspace_id, user_id=user.id)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file, made once and copied for each test."""
    path = tmp_path_factory.mktemp("template") / "branchline.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated SQLite database of the test's own."""
    path = tmp_path / "branchline.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def postgresql_server() -> str:
    """The URL of a PostgreSQL server; skips the test where there is none."""
    try:
        psycopg.connect(POSTGRESQL, connect_timeout=3).close()
    except psycopg.OperationalError:
        text = NO_POSTGRESQL.format(url=POSTGRESQL)
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    return POSTGRESQL


@pytest.fixture(scope="session")
def postgresql_session(postgresql_server: str) -> Iterator[str]:
    """A migrated PostgreSQL database for this test session; dropped at its end."""
    with temporary_database(postgresql_server, durable=False) as url:
        migrate.upgrade(url)
        yield url


@pytest.fixture
def postgresql_url(postgresql_session: str) -> str:
    """The session's PostgreSQL database, emptied."""
    _empty(postgresql_session)
    return postgresql_session


def _empty(url: str) -> None:
    # TRUNCATE makes new files for every table: a hundred times the work where there is little in them.
    with psycopg.connect(url) as connection:
        connection.execute(_EMPTY)


@pytest.fixture
def empty_postgresql_url(postgresql_server: str) -> Iterator[str]:
    """A PostgreSQL database of the test's own, without any table."""
    with temporary_database(postgresql_server, durable=False) as url:
        yield url


@pytest.fixture(scope="session")
def stack_postgresql_session(postgresql_server: str) -> Iterator[str]:
    """A PostgreSQL database for the stacks of this test session, one after the other."""
    with temporary_database(postgresql_server, durable=False) as url:
        migrate.upgrade(url)
        yield url


@pytest.fixture(scope="module")
def stack_postgresql_url(stack_postgresql_session: str) -> str:
    """A PostgreSQL database for the whole stack that a module's tests share, emptied."""
    with psycopg.connect(stack_postgresql_session, autocommit=True) as connection:
        connection.execute(_LEAVE)  # whoever was killed may still hold locks
    _empty(stack_postgresql_session)
    return stack_postgresql_session


@pytest.fixture(scope="module", params=[pytest.param("sqlite", marks=pytest.mark.soak), "postgresql"])
def stack_database_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A database for the whole stack that a module's tests share (see ``tests.support.databases``)."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('database')}/branchline.db"
    else:
        yield request.getfixturevalue("stack_postgresql_url")


@pytest.fixture(scope="module")
def stack_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for the whole stack that a module's tests share; they may kill it and start it again."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module", params=["redis", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def broker_url(request: pytest.FixtureRequest, stack_redis: RedisServer) -> str:
    """A broker of each kind in turn; a test that asks for it is made on both."""
    if request.param == "redis":
        return stack_redis.url
    url: str = request.getfixturevalue("rabbitmq").url
    return url


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The Redis that the tests of a session share; do not kill it (see ``own_redis``)."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The shared Redis, emptied."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for this test alone, which it may kill and start again."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(folder) as server:
        yield server


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A virtual host of a RabbitMQ server that a module's tests share; skips them where there is none."""
    with ExitStack() as undo:
        try:
            made = undo.enter_context(rabbitmq_server.virtual_host())
            made.check()
        except (LookupError, OSError) as reason:
            text = rabbitmq_server.NONE.format(reason=reason)
            if os.environ.get("CI") == "true":
                pytest.fail(text)
            pytest.skip(text)
        yield made


@pytest.fixture(scope="session", autouse=True)
def zygotes() -> Iterator[Zygotes]:
    """What starts the processes of all stacks but those that are ``from_python``."""
    with Zygotes() as zygotes:
        if os.environ.get("BRANCHLINE_TEST_FROM_PYTHON") != "true":
            Stack.starter = zygotes
        yield zygotes
        Stack.starter = None


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """A process that has all commands imported, for tests that call many."""
    with Forks("tests.support.every_command:main") as forks:
        yield forks


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    """A client with a new account, of the ``stack`` that the module defines."""
    with closing(stack.client()) as client:
        yield client
