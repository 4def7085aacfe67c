"""Whatever a driver raises within a duty: an ended connection is waited for, a fault of ours is noticed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import pytest

from runtime.duties import Duties
from runtime.maintenance.fold import Fold
from runtime.maintenance.reaper import duties_of
from runtime.maintenance.report import Report
from runtime.pool.announced import AnnouncedEnds
from runtime.pool.leases import Leases
from runtime.services import Services
from runtime.settings import load
from runtime.store import duties as stored
from runtime.store import pools
from runtime.store.engines.failures import is_away
from tests.support.failures import database_errors, dealt, raised_by_the_driver

POOL, INCARNATION, LEASE = "python", "pool-of-a-test", 10.0


@pytest.fixture
def services(database_url: str, redis_url: str) -> Iterator[Services]:
    services = Services(load({"DATABASE_URL": database_url, "REDIS_URL": redis_url}))
    yield services
    services.celery.close()
    services.database.close()
    services.link.close()


def works(services: Services) -> Mapping[str, Callable[[], object]]:
    """What the duties of a reaper and of a pool process do with the database."""
    database = services.database
    announced = AnnouncedEnds(database)
    announced.add("0" * 32)
    return {
        **duties_of(services),
        "fold earlier texts": Fold(database, roll_out=0.0).fold_earlier,  # not after ten minutes
        "report duties": Report(database, dict, 0.0).send,
        "report a pool": partial(database.write, stored.report, INCARNATION, stored.POOL, POOL, {}),
        "renew leases": Leases(database, INCARNATION, LEASE).renew,
        "mark announced ends": announced.mark,
        "publish": lambda: services.publisher.publish_after(POOL),
    }


def test_each_duty_waits_for_a_database_that_ended_its_connection_and_notices_a_fault(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "runtime")  # hundreds of tracebacks take seconds
    services.database.read(pools.names_with_backlog)  # SQLAlchemy asks a lot at its first connection
    wrong = []
    for error, name in dealt(database_errors(), works(services)):
        duties, work = Duties(), works(services)[name]
        with raised_by_the_driver(error):
            duties.attempt(name, work)
        if (duties.failing() == []) is not is_away(error):
            wrong.append((name, error))

    assert wrong == []
