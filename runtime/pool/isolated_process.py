"""An isolated process: a pool process that executes one run and ends (see :mod:`runtime.pool.isolation`).

It is run as ``python -m runtime.pool.isolated_process POOL INCARNATION RUN HEARTBEAT``. It consumes no
queue and does not report itself, for it executes no other run. Its parent writes to its stdin which
version of which worker is to execute it. At SIGTERM it drains.
"""

from __future__ import annotations

import sys

from runtime.pool.process import PoolProcess  # first of all: it has gevent patch everything

# ruff: isort: split
import pickle
import signal
import time
from collections.abc import Mapping
from contextlib import suppress

import gevent

from runtime.duties import Body
from runtime.errors import StoreUnavailable
from runtime.guardian.heartbeat import start_beating
from runtime.logs import configure
from runtime.registry import Worker
from runtime.settings import current
from runtime.store import pools
from runtime.system import clock, collector, processes

_DUTIES = ("renew leases", "watch leases", "receive notices", "look after sub-runs")


class IsolatedProcess(PoolProcess):
    """Executes one run."""

    def duties(self) -> Mapping[str, Body]:
        """What it does beside that: it publishes nothing and consumes no queue."""
        everything = super().duties()
        return {name: everything[name] for name in _DUTIES}

    def run_one(self, run_id: str, worker: Worker) -> None:
        """Execute a run of this worker."""
        self.workers.use(worker)
        self._start_duties()
        gevent.signal_handler(signal.SIGTERM, self.drain.start)
        gevent.signal_handler(signal.SIGUSR2, self.drain.hurry)
        try:
            self.executor.execute(run_id)
        finally:
            self._close()

    def _report(self) -> None:
        """It is not reported, for it executes no other run. It only sets its clock by the database's."""
        with suppress(StoreUnavailable):
            clock.note_skew(*self.services.database.read(pools.clock_skew, time.time))


def main(arguments: list[str]) -> None:
    """Execute one run.

    The arguments are its pool, the incarnation of this process, the run, and the descriptor
    of its heartbeat.
    """
    pool, incarnation, run_id, heartbeat = arguments
    collector.settle()
    processes.hide()
    start_beating(int(heartbeat))
    worker = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - of our parent, a pool process
    settings = current()
    configure(settings)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the guardian decides what Ctrl-C means
    IsolatedProcess(settings, pool, 1, incarnation, with_isolation=False).run_one(run_id, worker)


if __name__ == "__main__":
    main(sys.argv[1:])
