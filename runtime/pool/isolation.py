"""IsolatedProcesses: pool processes for one run each, so that what it does to them harms no other run.

A run that kills its pool process takes the attempts of all others in it along. So the
last attempt that a run may lose, once it has lost one, is made in a cell
(:mod:`runtime.pool.isolated_process`): whoever kills its process kills its own alone, and nobody ends
for another's doing.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from secrets import token_hex

from runtime import processes
from runtime.errors import StoreUnavailable
from runtime.store import Database, attempts, backlog, recovery

log = logging.getLogger(__name__)

_PAUSE = 1.0
"""Seconds until a run that found no free cell is tried again."""


class IsolatedProcesses:
    """The cells of one pool process."""

    def __init__(self, database: Database, pool: str, incarnation: str, most: int) -> None:
        """``most``: how many there may be at once."""
        self._database = database
        self._most = most
        self._pool = pool
        self._incarnation = incarnation
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        """By run."""

    def __len__(self) -> int:
        return len(self._processes)

    def execute(self, run_id: str) -> None:
        """Execute a run in a cell if it needs one, and wait for its end. Raises StoreUnavailable."""
        if not self._database.read(attempts.needs_isolation, run_id) or run_id in self._processes:
            log.info("run %s is not to be claimed; a message came twice or late", run_id)
        elif len(self) >= self._most:
            self._database.write(backlog.unpublish, [run_id], _PAUSE)
        else:
            self._live(run_id, f"{self._incarnation}-cell-{token_hex(2)}")

    def signal(self, number: int) -> None:
        """Send a signal to all of them."""
        for process in self._processes.values():
            process.send_signal(number)

    def _live(self, run_id: str, incarnation: str) -> None:
        arguments = [sys.executable, "-m", "runtime.pool.isolated_process", self._pool, incarnation, run_id]
        process = subprocess.Popen(arguments, preexec_fn=_drain_with_parent)
        self._processes[run_id] = process
        try:
            code = process.wait()
        finally:
            del self._processes[run_id]
        if code != 0:
            log.warning("the cell of run %s ended with code %d", run_id, code)
            self._release(incarnation)

    def _release(self, incarnation: str) -> None:
        try:
            self._database.write(recovery.release, incarnation)
        except StoreUnavailable:
            log.warning("the database is away; the run of a dead cell waits until its lease ends")


def _drain_with_parent() -> None:
    """In the cell: when the pool process dies, end in good order."""
    processes.die_with_parent(signal.SIGTERM)
