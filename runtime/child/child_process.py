"""A child that is a process on this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from runtime.child.control_groups import ControlGroup
from runtime.child.egress.routes import Access
from runtime.child.pipes import ReadPipe, WritePipe
from runtime.errors import ChildLost
from runtime.sandbox import folders
from runtime.system import processes

_START_TIMEOUT = 10.0
"""Seconds that a host that is ready may take to start a child."""
_KILL_TIMEOUT = 10.0
"""Seconds after SIGKILL in which the kernel must have ended a child."""
_HOST_TIMEOUT = 15.0
"""Seconds in which a host reports the end of a child, or is found to hang and is killed."""
_SIGTERM_INTERVAL = 0.25
"""Seconds after which a Python worker is sent SIGTERM again. Python handles a signal between
two bytecodes; one that arrives just before a blocking call is not handled until the call returns."""


_MOST_ACCESSES = 100
"""That are remembered before somebody wants to know."""


class Host(Protocol):
    """What a child needs of the host process that has started it."""

    @property
    def python(self) -> bool:
        """Whether its children are Python workers."""
        ...

    def kill(self, number: int, signal_number: int) -> None:
        """Send a signal to a child by its number."""
        ...


class ChildProcess:
    """One process that executes a run. Its host starts it, signals it and reports its end.

    See :class:`runtime.child.child.Child` for what its methods promise.
    """

    listens = True

    def __init__(
        self,
        host: Host,
        number: int,
        group: ControlGroup | None,
        stdin: WritePipe,
        stdout: ReadPipe,
        stderr: ReadPipe,
    ) -> None:
        """``number``: what pool and host call it, since it has no pid before it is started."""
        self.pid = 0
        """Set once it is started."""
        self.oom_killed = False
        self.lost: str | None = None
        self.exceeded: str | None = None
        self.left: str | None = None
        """The folder of its run, if it has left something there."""
        self._report: Callable[[Access], None] | None = None
        self._accesses: deque[Access] = deque(maxlen=_MOST_ACCESSES)
        self._group = group
        self._host = host
        self._number = number
        self._stdin = stdin
        self._stdout = stdout
        self._stderr = stderr
        self._started = threading.Event()
        self._ended = threading.Event()
        self._code: int | None = None

    def on_access(self, report: Callable[[Access], None]) -> None:
        """Also with those that it has connected to before."""
        self._report = report
        while self._accesses:
            report(self._accesses.popleft())

    def report(self, access: Access) -> None:
        """For the gateway: it has connected somewhere, or was refused."""
        if self._report is not None:
            self._report(access)
        else:
            self._accesses.append(access)

    def read(self) -> bytes:
        """The next chunk of stdout."""
        return self._stdout.read()

    def read_log(self) -> bytes:
        """The next chunk of stderr."""
        return self._stderr.read()

    def send(self, line: bytes) -> None:
        """Send a line to stdin, with a line break if it has none."""
        self._stdin.send(line if line.endswith(b"\n") else line + b"\n")

    def wait(self, timeout: float | None = None) -> int | None:
        """Its exit code (negative: the signal that ended it); None if it lives after ``timeout`` seconds."""
        if self._ended.wait(timeout):
            return self._code
        if timeout and self.pid and processes.has_ended(self.pid):
            self._ended.wait(_HOST_TIMEOUT)  # its host is slow to say so, or was stopped
        return self._code

    def show_stack(self) -> None:
        """Have a Python worker write its stack to stderr, also where it hangs in C."""
        if self._host.python and not self._ended.is_set():
            self._host.kill(self._number, signal.SIGUSR1)

    def stop(self, grace: float) -> None:
        """SIGTERM to its process group, and SIGKILL to all that it has started after ``grace`` seconds.

        What it wrote before can still be read.
        """
        until = time.monotonic() + grace
        while not self._ended.is_set() and (left := until - time.monotonic()) > 0:
            self._host.kill(self._number, signal.SIGTERM)
            self._ended.wait(min(left, _SIGTERM_INTERVAL) if self._host.python else left)
        if not self._ended.is_set():
            self._host.kill(self._number, signal.SIGKILL)
            self._ended.wait(_KILL_TIMEOUT)
        self._stdin.close()

    def close(self) -> None:
        """Close its pipes and remove its control group."""
        self._stdin.close()
        self._stdout.close()
        self._stderr.close()
        if self._group is not None:
            self._group.remove()
            self._group = None
        if self.left is not None:
            folders.remove_aside(self.left)
            self.left = None

    # ── for the host's client ───────────────────────────────────────────────

    def wait_started(self) -> None:
        """Wait until the host has started it. Raises ChildLost where that fails."""
        if not self._started.wait(_START_TIMEOUT):
            self.stop(0)
            raise ChildLost("its process was not started in time")
        if not self.pid:
            raise ChildLost(self.lost)

    def await_pid(self) -> int:
        """Its process id, which it has as soon as its host has started it; 0 if it could not."""
        self._started.wait(_START_TIMEOUT)
        return self.pid

    def mark_started(self, pid: int) -> None:
        """The host has started it."""
        self.pid = pid
        self._started.set()

    def mark_refused(self, message: str) -> None:
        """The host could not start it."""
        self.mark_ended(0, message)

    def mark_ended(self, code: int, lost: str | None) -> None:
        """It has ended, or its host has; ``lost`` says why, where the worker is not to blame."""
        self.lost = lost
        self._code = code
        self.oom_killed = self._group is not None and self._group.oom_killed()
        self._ended.set()
        self._started.set()
        self._stdin.close()

    def kill_group(self) -> None:
        """Kill what is left of its process group, without its host."""
        if not self.pid:
            return
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # nothing is left of it
