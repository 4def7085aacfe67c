"""Isolated processes: pool processes for one run each, so that a run which kills its process harms no other.

A run that kills its pool process also ends the attempts of all other runs in it. So once a
run has lost an attempt, its last permitted attempt is made in a process of its own
(:mod:`runtime.pool.isolated_process`). A run that kills that process ends by its own doing.
"""

from __future__ import annotations

import logging
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from secrets import token_hex

from runtime.errors import StoreUnavailable
from runtime.guardian.heartbeat import Heartbeat
from runtime.pool.workers import PoolWorkers
from runtime.registry import Worker
from runtime.settings import PoolSettings
from runtime.store import Database, attempts, backlog, recovery, runs
from runtime.system import processes

log = logging.getLogger(__name__)

_PAUSE = 1.0
"""Seconds until a run that had to wait for an isolated process is published again."""


class IsolatedProcesses:
    """The isolated processes that one pool process has started."""

    def __init__(
        self,
        database: Database,
        workers: PoolWorkers,
        pool: str,
        incarnation: str,
        settings: PoolSettings,
    ) -> None:
        """``incarnation``: that of the pool process, which has these ``workers``."""
        self._database = database
        self._workers = workers
        self._limit = settings.isolated_processes
        self._silence = settings.silence
        self._pool = pool
        self._incarnation = incarnation
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        """By run."""

    def __len__(self) -> int:
        return len(self._processes)

    def execute(self, run_id: str) -> str | None:
        """Execute a run in a process of its own if it needs one, and wait for its end.

        Returns how it has failed, if it has. Raises StoreUnavailable.
        """
        worker_id = self._database.read(attempts.needs_isolation, run_id)
        if worker_id is None or run_id in self._processes:
            log.info("run %s is not to be claimed; a message came twice or late", run_id)
            return None
        version = self._workers.hold(worker_id) if len(self) < self._limit else None
        if version is None:
            self._database.write(backlog.unpublish, [run_id], _PAUSE)
            return None
        try:
            return self._run(run_id, version.worker, f"{self._incarnation}-isolated-{token_hex(2)}")
        finally:
            self._workers.release(version)

    def signal(self, number: int) -> None:
        """Send a signal to all of them."""
        for process in self._processes.values():
            process.send_signal(number)

    def _run(self, run_id: str, worker: Worker, incarnation: str) -> str | None:
        try:
            heartbeat = Heartbeat(self._silence)
        except OSError as error:
            self._postpone(run_id, error)
            return None
        try:
            process = self._start(run_id, worker, incarnation, heartbeat)
        except (OSError, subprocess.SubprocessError) as error:
            heartbeat.close()
            self._postpone(run_id, error)
            return None
        self._processes[run_id] = process
        try:
            code = _wait(process, heartbeat)
        finally:
            del self._processes[run_id]
            heartbeat.close()
        if code != 0:
            log.warning("the isolated process of run %s ended with %s", run_id, processes.describe_exit(code))
            self._release(run_id, incarnation)
        return self._failure(run_id, code)

    def _start(
        self, run_id: str, worker: Worker, incarnation: str, heartbeat: Heartbeat
    ) -> subprocess.Popen[bytes]:
        module = [sys.executable, "-m", "runtime.pool.isolated_process"]
        process = subprocess.Popen(
            [*module, self._pool, incarnation, run_id, str(heartbeat.descriptor)],
            pass_fds=[heartbeat.descriptor],
            stdin=subprocess.PIPE,
            preexec_fn=_drain_with_parent,
        )
        heartbeat.close_childs_end()
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(pickle.dumps(worker))
        return process

    def _postpone(self, run_id: str, error: Exception) -> None:
        log.warning("run %s waits: no isolated process could be made: %s", run_id, error)
        self._database.write(backlog.unpublish, [run_id], _PAUSE)

    def _failure(self, run_id: str, code: int) -> str | None:
        """How the run has failed, if it has; where its process was lost, the reaper is yet to end it."""
        try:
            run = self._database.read(runs.find, run_id)
        except StoreUnavailable:
            run = None
        if run is not None and run.status.terminal:
            return run.failure
        return "lost" if code else None

    def _release(self, run_id: str, incarnation: str) -> None:
        try:
            self._database.write(recovery.release, incarnation)
        except StoreUnavailable:
            log.warning("the database is away; the run %s waits until its lease ends", run_id)


def _wait(process: subprocess.Popen[bytes], heartbeat: Heartbeat) -> int:
    """Wait for its end, and kill it if it hangs. Returns its exit code."""
    while True:
        try:
            return process.wait(heartbeat.until_next_look)
        except subprocess.TimeoutExpired:
            if heartbeat.silent:
                log.warning("an isolated process does not answer; it is killed")
                process.kill()


def _drain_with_parent() -> None:
    """In the new process: drain when the pool process dies."""
    processes.die_with_parent(signal.SIGTERM)
