"""One run of chaos, from the seed to the outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import sqlalchemy as sa

from testbed.postgresql_server import PostgreSQLServer
from testbed.redis_server import RedisServer
from tests.chaos import plan as planning
from tests.chaos import report, stored, verdict
from tests.chaos.faults import Faults
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.plan import Plan
from tests.chaos.report import Outcome
from tests.chaos.system import LEASE, System

_QUIET_WITHIN = 90.0
"""Seconds that everything may take to end once all is healed."""
_REPORTS = 10.0
"""Seconds between two lines of progress."""
_GONE_WITHIN = 10.0


def make_plan(seed: int, seconds: float, asks: int, faults: int, url: str, own: bool) -> Plan:
    """The plan of a seed; which faults there are depends on the database."""
    kinds = planning.KINDS
    if sa.make_url(url).get_backend_name() != "sqlite":
        kinds += planning.ON_POSTGRESQL + (planning.ON_OWN_POSTGRESQL if own else ())
    return planning.make(seed, seconds, lease=LEASE, asks=asks, faults=faults, kinds=kinds)


def run(
    plan: Plan,
    folder: Path,
    database_url: str,
    postgresql: PostgreSQLServer | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Carry out a plan on a system of its own in ``folder``.

    ``postgresql``: the server of ``database_url``, if the plan may restart it. ``say``
    is told of the progress.
    """
    began = time.monotonic()
    ledger = Ledger()
    with ExitStack() as cleanup:
        redis = cleanup.enter_context(RedisServer(folder, durable=True))
        system = System(folder, database_url, redis, postgresql, plan.seed)
        with system:
            say("everything has started")
            _shake(plan, ledger, system, say)
            found = stored.read(database_url, redis.url)
        found.memory = system.largest
        found.processes = _left(system)
        violations = verdict.judge(ledger, found)
        return Outcome(
            plan, sa.make_url(database_url).get_backend_name(), ledger, found, violations,
            time.monotonic() - began, report.logs(system),
        )  # fmt: skip


def _shake(plan: Plan, ledger: Ledger, system: System, say: Callable[[str], None]) -> None:
    load, faults = Load(plan, ledger, system.bases), Faults(plan, ledger, system)
    start = time.monotonic()
    parts = [threading.Thread(target=part.run, args=(start,), daemon=True) for part in (load, faults)]
    for part in parts:
        part.start()
    reported = start
    while any(part.is_alive() for part in parts):
        time.sleep(0.5)
        system.measure()
        if time.monotonic() - reported > _REPORTS:
            reported = time.monotonic()
            say(_progress(ledger, load, reported - start))
    say("all is healed; waiting for quiet")
    deadline = time.monotonic() + _QUIET_WITHIN
    while time.monotonic() < deadline and (load.under_way() or stored.unended(system.database_url)):
        time.sleep(0.2)
    say(_progress(ledger, load, time.monotonic() - start))
    load.reread()


def _progress(ledger: Ledger, load: Load, seconds: float) -> str:
    struck = sum(one.missed is None for one in list(ledger.struck))
    wrong = len(ledger.wrong) + sum(len(sight.wrong or sight.view.wrong) for sight in list(ledger.sights))
    return (
        f"{seconds:4.0f} s: {len(ledger.accepted)} asks accepted, {struck} faults, "
        f"{load.under_way()} askers and readers under way, {wrong} things wrong"
    )


def _left(system: System) -> dict[int, str]:
    """Processes that are there although everything was told to end."""
    deadline = time.monotonic() + _GONE_WITHIN
    while (left := system.left()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left
