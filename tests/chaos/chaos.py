"""One run of chaos, from the seed to the outcome."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from runtime.testing.postgresql_server import PostgreSQLServer
from runtime.testing.redis_server import RedisServer
from tests.chaos import plan as planning
from tests.chaos import report, stored, verdict
from tests.chaos.faults import Faults
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.plan import Plan
from tests.chaos.report import Outcome
from tests.chaos.system import LEASE, System

_QUIET_WITHIN = 90.0
"""Seconds that everything may take to end once every fault is over."""
_REPORTS = 10.0
"""Seconds between two lines of progress."""
_GONE_WITHIN = 10.0


def make_plan(seed: int, seconds: float, asks: int, faults: int, url: str, own: bool) -> Plan:
    """The plan of a seed; which faults there are depends on the database.

    On SQLite no clock is ahead: it has no time but that of the process which writes, and the
    processes that share one are on one machine.
    """
    kinds = planning.KINDS + (planning.AS_NOBODY_SPECIAL if os.geteuid() != 0 else ())
    on_sqlite = sa.make_url(url).get_backend_name() == "sqlite"
    if not on_sqlite:
        kinds += planning.ON_POSTGRESQL + (planning.ON_OWN_POSTGRESQL if own else ())
    plan = planning.make(seed, seconds, lease=LEASE, asks=asks, faults=faults, kinds=kinds)
    return replace(plan, skew=0.0) if on_sqlite else plan


def run(
    plan: Plan,
    folder: Path,
    database_url: str,
    postgresql: PostgreSQLServer | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Carry out a plan on a system of its own in ``folder``.

    ``postgresql``: the server of ``database_url``, if the plan may restart it. ``log``
    gets lines about the progress.
    """
    began = time.monotonic()
    ledger = Ledger()
    paid = folder / "paid"
    paid.touch()
    with ExitStack() as cleanup:
        redis = cleanup.enter_context(RedisServer(folder, durable=True))
        system = System(folder, database_url, redis, postgresql, plan)
        with system:
            log("everything has started")
            _run_load_and_faults(Load(plan, ledger, system.bases, paid), plan, ledger, system, log)
            found = stored.read(database_url, redis.url, plan.installation, paid)
        found.memory = system.largest
        found.processes = _leftovers(system)
        violations = verdict.judge(ledger, found)
        return Outcome(
            plan, sa.make_url(database_url).get_backend_name(), ledger, found, violations,
            time.monotonic() - began, report.logs(system),
        )  # fmt: skip


def _run_load_and_faults(
    load: Load, plan: Plan, ledger: Ledger, system: System, log: Callable[[str], None]
) -> None:
    faults = Faults(plan, ledger, system)
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
            log(_progress(ledger, load, reported - start))
    log("all faults are over; waiting for quiet")
    deadline = time.monotonic() + _QUIET_WITHIN
    while time.monotonic() < deadline and (load.under_way() or stored.unended(system.database_url)):
        time.sleep(0.2)
    log(_progress(ledger, load, time.monotonic() - start))
    load.reread()


def _progress(ledger: Ledger, load: Load, seconds: float) -> str:
    faults = sum(injection.skipped is None for injection in list(ledger.injections))
    wrong = len(ledger.wrong) + sum(len(o.wrong or o.view.wrong) for o in list(ledger.observations))
    return (
        f"{seconds:4.0f} s: {len(ledger.accepted)} asks accepted, {faults} faults, "
        f"{load.under_way()} askers and readers under way, {wrong} things wrong"
    )


def _leftovers(system: System) -> dict[int, str]:
    """Processes that are there although everything was stopped."""
    deadline = time.monotonic() + _GONE_WITHIN
    while (left := system.leftovers()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left
