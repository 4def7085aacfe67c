"""The guardian: a tiny parent of one pool process, which notices its death.

It imports nothing but the standard library and :mod:`runtime.processes`, so that there
is little in it that could fail or grow. When the pool process dies, its runs are handed on at once,
instead of when their leases run out, what its children left behind is killed,
and a new pool process is started under a new incarnation.
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

_QUICK_DEATH = 5.0
"""A pool process that lived for less than so many seconds waits before the next."""
_LONGEST_PAUSE = 30.0


class Guardian:
    """Keeps one pool process running until told to stop."""

    def __init__(self, name: str, slots: int, patience: float) -> None:
        """``patience``: seconds that the pool process may take to end after SIGTERM."""
        self.name = name
        self.slots = slots
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None
        self._told_to_stop = 0

    def run(self) -> int:
        """Returns the exit code to end with."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGALRM, self._lose_patience)
        processes.adopt_orphans()
        pause = 0.0
        while not self._stopping():
            began = time.monotonic()
            incarnation = f"{self.name}@{socket.gethostname()}-{secrets.token_hex(4)}"
            code = self._live(incarnation)
            if self._stopping() and code == 0:
                return 0
            self._say(f"the pool process ended with {processes.describe_exit(code)}; its runs are handed on")
            self._hand_on(incarnation)
            _kill_orphans()
            pause = (
                min(max(1.0, pause * 2), _LONGEST_PAUSE) if time.monotonic() - began < _QUICK_DEATH else 0.0
            )
            self._pause(pause)
        return 0

    def _live(self, incarnation: str) -> int:
        """Start a pool process and wait for its end; bury what the kernel gives to us meanwhile."""
        arguments = [sys.executable, "-m", "runtime.pool.process", self.name, str(self.slots), incarnation]
        process = self._process = subprocess.Popen(arguments, preexec_fn=_die_with_parent)
        if self._stopping():
            self._signal(signal.SIGTERM)
        while process.returncode is None:
            pid, status = os.waitpid(-1, 0)
            if pid == process.pid:
                process.returncode = os.waitstatus_to_exitcode(status)
        return process.returncode

    def _hand_on(self, incarnation: str) -> None:
        arguments = [sys.executable, "-m", "runtime.maintenance.reaper", "--once", "--released", incarnation]
        try:
            subprocess.run(arguments, timeout=30, check=False, preexec_fn=_die_with_parent)
        except subprocess.TimeoutExpired:
            self._say("handing on took too long; the reaper does it when the leases run out")

    def _stopping(self) -> bool:
        return self._told_to_stop > 0

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping() and time.monotonic() < until:
            time.sleep(0.1)

    def _stop(self, *_: object) -> None:
        """At the first signal the pool process drains, at the next one it hands its runs back now."""
        self._told_to_stop += 1
        if self._told_to_stop == 1:
            self._signal(signal.SIGTERM)
            signal.setitimer(signal.ITIMER_REAL, self._patience)
        else:
            self._signal(signal.SIGUSR2)

    def _lose_patience(self, *_: object) -> None:
        self._say("the pool process does not end; it is killed")
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            os.kill(self._process.pid, number)

    def _say(self, text: str) -> None:
        print(f"pool {self.name}: {text}", file=sys.stderr, flush=True)


def main(name: str, slots: int, patience: float) -> int:
    """Run a pool until SIGTERM. Returns an exit code."""
    return Guardian(name, slots, patience).run()


def _die_with_parent() -> None:
    """In the pool process: drain when the guardian is killed, rather than live on unseen."""
    processes.die_with_parent(signal.SIGTERM)


def _kill_orphans() -> None:
    """Kill what the dead pool process left behind and the kernel gave to us, but for its cells.

    A cell is told by the kernel to drain; were it killed, its run would end for another's doing.
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
