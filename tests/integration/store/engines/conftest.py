"""The database of the tests of the engines: each kind, and PostgreSQL the general way as well.

And PostgreSQL behind PgBouncer, in a time zone of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from runtime.settings import Settings
from runtime.settings.database_address import PostgreSQLServer
from runtime.store import Database
from runtime.store.engines import Engine, PostgreSQL
from tests.support.pgbouncer import pgbouncer


class General(PostgreSQL):
    """PostgreSQL, each step as a transaction of the general functions."""

    get_thread = Engine.get_thread
    get_run = Engine.get_run
    query = Engine.query
    accept = Engine.accept
    accept_with = Engine.accept_with
    apply = Engine.apply
    claim = Engine.claim
    finish = Engine.finish
    claim_for_publish = Engine.claim_for_publish


@pytest.fixture(scope="session")
def pooled_session(postgresql_session: str) -> Iterator[str]:
    """The session's PostgreSQL database, behind PgBouncer."""
    with pgbouncer(postgresql_session, connect_query="SET timezone = 'Asia/Kolkata'") as url:
        yield url


@pytest.fixture
def pooled_url(postgresql_url: str, pooled_session: str) -> str:
    """The same, emptied."""
    return pooled_session


@pytest.fixture(params=["sqlite", "postgresql", "postgresql-general", "pooled"])
def database(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Database]:
    """An empty, migrated database of each engine in turn."""
    name, _, general = request.param.partition("-")
    database = Database(request.getfixturevalue(f"{name}_url"), settings.database)
    if general:
        database.engine.close()
        database.engine = General(cast(PostgreSQLServer, database.address), settings.database)
    yield database
    database.close()
