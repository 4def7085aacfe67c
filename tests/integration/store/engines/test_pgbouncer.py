"""PostgreSQL behind PgBouncer in transaction mode: nothing is left to a session."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg
import pytest

from runtime.errors import SearchTooLong, StoreUnavailable
from runtime.settings import Settings
from runtime.store import Database, migrate, pools
from tests.support.pgbouncer import pgbouncer

REPEATED = 8
"""Times after which psycopg would have prepared a statement."""
SHOWN = ("statement_timeout", "idle_in_transaction_session_timeout", "TimeZone", "enable_seqscan", "jit")


@pytest.fixture
def pooled(postgresql_url: str, settings: Settings) -> Iterator[Database]:
    """A database behind PgBouncer."""
    with pgbouncer(postgresql_url) as url:
        database = Database(url, settings.database)
        yield database
        database.close()


def shown(c: pools.Connection) -> list[str]:
    return [c.exec_driver_sql(f"SHOW {name}").scalar_one() for name in SHOWN]


def test_every_transaction_has_the_settings_of_a_session(
    pooled: Database, postgresql_url: str, settings: Settings
) -> None:
    direct = Database(postgresql_url, settings.database)
    expected = direct.read(shown)
    direct.close()

    assert (pooled.write(shown), pooled.snapshot(shown)) == (expected, expected)


def test_a_statement_is_never_prepared(pooled: Database) -> None:
    """Two sessions serve eight clients: a prepared one would be unknown to one of them, or there already."""

    def repeat(number: int) -> None:
        for _ in range(REPEATED):
            pooled.engine.claim_for_publish("python", 10)
            pooled.write(pools.report, "python", f"pool {number}", 2, {})
            pooled.read(pools.listing, 10)

    with ThreadPoolExecutor(8) as clients:
        list(clients.map(repeat, range(8)))

    prepared = pooled.read(
        lambda c: c.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar_one()
    )
    assert (prepared, len(pooled.read(pools.listing, 10))) == (0, 8)


def test_a_search_is_bounded(pooled: Database) -> None:
    with pytest.raises(SearchTooLong):
        pooled.engine.search(0.1, lambda c: c.exec_driver_sql("SELECT pg_sleep(5)"))


def test_an_empty_database_is_migrated_through_it(empty_postgresql_url: str) -> None:
    with pgbouncer(empty_postgresql_url) as url:
        migrate.upgrade(url)
        migrate.upgrade(url)

        assert migrate.current(url) == migrate.head()


def test_without_a_server_behind_it_the_database_is_unavailable(settings: Settings) -> None:
    with pgbouncer("postgresql://postgres@127.0.0.1:1/none", query_wait_timeout="1") as url:
        database = Database(url, settings.database)
        with pytest.raises(StoreUnavailable):
            database.read(pools.listing, 10)
        database.close()


def test_a_server_that_ends_its_sessions_costs_one_answer_at_most(
    pooled: Database, postgresql_url: str
) -> None:
    pooled.read(pools.listing, 10)
    with psycopg.connect(postgresql_url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with suppress(StoreUnavailable):  # PgBouncer may not have noticed yet
        pooled.read(pools.listing, 10)

    assert pooled.read(pools.listing, 10) == []
