"""The contract of a child: whatever executes a run, as the executor sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from runtime.child.egress.routes import Access


class Child(Protocol):
    """What executes one run: a process on this machine, or a request to a web service.

    Under gevent, whatever waits here lets other greenlets run.
    """

    @property
    def listens(self) -> bool:
        """Whether it reads what it is sent after its run."""

    @property
    def pid(self) -> int:
        """The process id; 0 if there is no process."""

    @property
    def oom_killed(self) -> bool:
        """Set once it has ended: whether the kernel has killed it or one of its programs for using
        more memory than its worker may."""

    @property
    def lost(self) -> str | None:
        """Set once it has ended: why it did, if that was no fault of the worker, as in
        :class:`~runtime.errors.ChildLost`."""

    @property
    def exceeded(self) -> str | None:
        """Set once it has ended: of what it had so much that it was killed, as a part of a sentence."""

    def on_access(self, report: Callable[[Access], None]) -> None:
        """Have ``report`` called with each host that it connects to or is refused, where that is known."""

    def read(self) -> bytes:
        """The next chunk of output, of at most 64 KiB; waits for it. Empty at the end of the output."""

    def read_log(self) -> bytes:
        """The next chunk of what is for the run's log; waits for it. Empty at the end."""

    def send(self, line: bytes) -> None:
        """Send a line of the protocol. Never waits; a child that has ended is no error."""

    def wait(self, timeout: float | None = None) -> int | None:
        """Its exit code (negative: the signal that ended it); None if it lives after ``timeout`` seconds."""

    def show_stack(self) -> None:
        """Have it write to its log where it is, if it is a Python worker on this machine. Never waits."""

    def stop(self, grace: float) -> None:
        """End it, and all that it has started; returns when it is gone.

        It is asked to stop, and killed after ``grace`` seconds. Calling it again, or after
        the end, does nothing.
        """

    def close(self) -> None:
        """Free what it holds. Unread output is lost."""
