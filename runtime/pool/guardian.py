"""The guardian: a tiny parent of one pool process, which notices its death.

It imports nothing but the standard library and :mod:`runtime.processes`, so that there is
little in it that could fail or grow. When the pool process dies, the guardian releases its
leases at once, so that its runs need not wait until those end; it kills what the children
left behind; and it starts a new pool process under a new incarnation.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time

from runtime import processes

_MIN_LIFETIME = 5.0
"""Seconds; after a pool process that lived shorter, the next one is started with a pause."""
_MAX_PAUSE = 30.0


class Guardian:
    """Keeps one pool process running until it is stopped."""

    def __init__(self, name: str, slots: int, stop_timeout: float) -> None:
        """``stop_timeout``: seconds that the pool process may take to end after SIGTERM."""
        self.name = name
        self.slots = slots
        self._stop_timeout = stop_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._stop_signals = 0

    def run(self) -> int:
        """Returns the exit code to end with."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGALRM, self._kill_process)
        processes.adopt_orphans()
        pause = 0.0
        while not self._stopping():
            began = time.monotonic()
            incarnation = f"{self.name}@{socket.gethostname()}-{secrets.token_hex(4)}"
            code = self._run_process(incarnation)
            if self._stopping() and code == 0:
                return 0
            self._log(f"the pool process ended with {processes.describe_exit(code)}; its runs are released")
            self._release_runs(incarnation)
            _kill_orphans()
            pause = min(max(1.0, pause * 2), _MAX_PAUSE) if time.monotonic() - began < _MIN_LIFETIME else 0.0
            self._pause(pause)
        return 0

    def _run_process(self, incarnation: str) -> int:
        """Start a pool process and wait for its end; reap the orphans that this process adopts meanwhile."""
        arguments = [sys.executable, "-m", "runtime.pool.process", self.name, str(self.slots), incarnation]
        process = self._process = subprocess.Popen(arguments, preexec_fn=_die_with_parent)
        if self._stopping():
            self._signal(signal.SIGTERM)
        while process.returncode is None:
            pid, status = os.waitpid(-1, 0)
            if pid == process.pid:
                process.returncode = os.waitstatus_to_exitcode(status)
        return process.returncode

    def _release_runs(self, incarnation: str) -> None:
        arguments = [sys.executable, "-m", "runtime.maintenance.reaper", "--once", "--released", incarnation]
        try:
            subprocess.run(arguments, timeout=30, check=False, preexec_fn=_die_with_parent)
        except subprocess.TimeoutExpired:
            self._log("releasing its runs took too long; the reaper does it when the leases end")

    def _stopping(self) -> bool:
        return self._stop_signals > 0

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping() and time.monotonic() < until:
            time.sleep(0.1)

    def _stop(self, *_: object) -> None:
        """The first signal starts the drain of the pool process, the next one cuts it short."""
        self._stop_signals += 1
        if self._stop_signals == 1:
            self._signal(signal.SIGTERM)
            signal.setitimer(signal.ITIMER_REAL, self._stop_timeout)
        else:
            self._signal(signal.SIGUSR2)

    def _kill_process(self, *_: object) -> None:
        self._log("the pool process does not end; it is killed")
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            os.kill(self._process.pid, number)

    def _log(self, text: str) -> None:
        print(f"pool {self.name}: {text}", file=sys.stderr, flush=True)


def main(name: str, slots: int, stop_timeout: float) -> int:
    """Run a pool until SIGTERM. Returns an exit code."""
    return Guardian(name, slots, stop_timeout).run()


def _die_with_parent() -> None:
    """In the pool process: drain when the guardian is killed, rather than go on unsupervised."""
    processes.die_with_parent(signal.SIGTERM)


def _kill_orphans() -> None:
    """Kill what the dead pool process left behind, except its isolated processes.

    Those drain when it dies. If they were killed, their runs would end through no fault of their own.
    """
    if sys.platform != "linux":
        return
    me = os.getpid()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with open(f"/proc/{me}/task/{me}/children") as file:
            children = [int(pid) for pid in file.read().split() if not _is_isolated(pid)]
        if not children:
            return
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue


def _is_isolated(pid: str) -> bool:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"runtime.pool.isolated_process" in file.read().split(b"\0")
    except OSError:
        return False  # it has ended meanwhile
