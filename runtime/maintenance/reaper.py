"""The reaper: runs the duties of maintenance, one round after another.

Any number of reapers may run: each change is guarded by what it expects to find.
"""

from __future__ import annotations

import argparse
import logging
import signal
from collections.abc import Callable, Mapping
from functools import partial

from runtime.duties import Duties
from runtime.errors import StoreUnavailable
from runtime.guardian.heartbeat import start_beating
from runtime.logs import configure
from runtime.maintenance.announce import announce_ends
from runtime.maintenance.cleanup import Cleanup
from runtime.maintenance.fold import Fold
from runtime.maintenance.publish import publish_backlog
from runtime.maintenance.report import Report
from runtime.maintenance.rescue import rescue_lost_attempts
from runtime.outboxes import further_duties, outbox_of
from runtime.services import Services
from runtime.settings import current
from runtime.store import recovery
from runtime.system import processes

log = logging.getLogger(__name__)

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

Works = Mapping[str, Callable[[], object]]
"""The name of each duty, for logs and metrics, and what is called, in the order of execution."""


def duties_of(services: Services) -> Works:
    """The duties of a reaper, in order. A new one is registered here."""
    return {
        "rescue lost attempts": partial(rescue_lost_attempts, services),
        "announce ends": partial(announce_ends, services),
        "handle the outbox": outbox_of(services).handle_due,
        "publish the backlog": partial(publish_backlog, services),
        "delete what has expired": Cleanup(services).delete_expired,
        "fold earlier texts": Fold(services.database).fold_earlier,
        **further_duties(services),
    }


class Reaper:
    """Runs its duties in rounds.

    A duty whose database, Redis or broker is away is tried again in the next round, and one
    that fails otherwise after a pause. Neither keeps the others waiting, nor ends the process.
    """

    def __init__(self, works: Works, interval: float) -> None:
        """``interval``: seconds between two rounds."""
        self._works = dict(works)
        self._interval = interval
        self.duties = Duties()

    def add(self, name: str, work: Callable[[], object]) -> None:
        """Add a duty, which is done after all others."""
        self._works[name] = work

    def run(self) -> None:
        """Run rounds until SIGTERM or SIGINT, which are handled between two rounds."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        while True:
            self.run_round()
            if signal.sigtimedwait(_STOP_SIGNALS, self._interval):
                return

    def run_round(self) -> None:
        """Run every duty once, unless it has failed a moment ago."""
        for name, work in self._works.items():
            self.duties.attempt(name, work)


def main(arguments: list[str] | None = None) -> int:
    """Run the reaper. Returns an exit code."""
    processes.hide()
    parser = argparse.ArgumentParser(prog="python -m runtime.maintenance", description=__doc__)
    parser.add_argument("--once", action="store_true", help="run one round and end")
    parser.add_argument(
        "--released",
        metavar="INCARNATION",
        help="a pool process that is known to be dead: its leases end now",
    )
    parser.add_argument("--heartbeat", metavar="DESCRIPTOR", type=int, help="where to tell the guardian")
    options = parser.parse_args(arguments)
    if options.heartbeat is not None:
        start_beating(options.heartbeat)
    settings = current()
    configure(settings)
    services = Services(settings)
    reaper = Reaper(duties_of(services), settings.reaper.interval)
    if options.released:  # the guardian starts this when its pool process has died
        try:
            services.database.write(recovery.release, options.released)
        except StoreUnavailable:
            log.warning("the database is away; the runs of %s wait until their leases end", options.released)
    if options.once:
        reaper.run_round()
        return 0
    with Report(services.database, reaper.duties.ages, settings.pool.renew) as report:
        reaper.add("report duties", report.send)
        reaper.run()
    return 0
