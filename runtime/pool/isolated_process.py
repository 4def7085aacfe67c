"""A cell: a pool process that executes one run and ends (see :mod:`runtime.pool.isolation`).

It is run as ``python -m runtime.pool.isolated_process POOL INCARNATION RUN``. It consumes no queue and
does not report itself, for it takes no other run. At SIGTERM it drains.
"""

from __future__ import annotations

import sys

from runtime.pool.process import PoolProcess  # first of all: it has gevent patch everything

# ruff: isort: split
import signal

import gevent

from runtime.logs import configure
from runtime.settings import current


class IsolatedProcess(PoolProcess):
    """What runs in a cell."""

    def run_one(self, run_id: str) -> None:
        """Execute a run."""
        for duty in (self._keep_leases, self._listen):
            gevent.spawn(duty)
        gevent.signal_handler(signal.SIGTERM, self._drain_soon)
        gevent.signal_handler(signal.SIGUSR2, self._hurry)
        try:
            self.executor.execute(run_id)
        finally:
            self.announced.mark()
            self.children.close()

    def _report(self) -> None:
        """Nobody is to give it a run."""


def main(arguments: list[str]) -> None:
    """Run a cell; the arguments are its pool, its incarnation and its run."""
    pool, incarnation, run_id = arguments
    settings = current()
    configure(settings)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its guardian decides about that
    IsolatedProcess(settings, pool, 1, incarnation, with_isolation=False).run_one(run_id)


if __name__ == "__main__":
    main(sys.argv[1:])
