"""What leads a worker to the pool, where there is none: its lines are received at once."""

from __future__ import annotations

import _thread
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import Cancelled
from ..messages import Json
from .transcript import TooLarge, Transcript

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from ..wire import Receiver, Tag, Watched


class Killed(BaseException):
    """The worker's process would be dead by now. Each line that it tries to write raises it again."""


def _handle(loop: AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say nothing of tasks and generators that a killed process has left."""
    if not isinstance(context.get("exception"), Killed):
        loop.default_exception_handler(context)


class LocalWire:
    """A :class:`~runtime.sdk.wire.Connection` to the transcript of one attempt."""

    def __init__(
        self,
        line: dict[str, Json],
        transcript: Transcript,
        crash_after: int | None = None,
        cancel_after: int | None = None,
    ) -> None:
        """``line``: what the worker is given. After which of its lines it dies or is cancelled, from 1;
        0: before it begins."""
        self.killed = False
        self.too_large: str | None = None
        """Which limit its output exceeds."""
        self._line = line
        self._transcript = transcript
        self._crash_after = crash_after
        self._cancel_after = cancel_after
        self._run: Watched | None = None
        self._main = _thread.get_ident()
        self._lock = _thread.allocate_lock()
        self._asked: set[Tag] = set()
        self._listening: dict[Tag, Receiver] = {}
        self._stop: Callable[[], object] = self._raise_cancelled
        self._to_stop = False
        """Whether the run was cancelled while another thread was writing."""

    @property
    def cancelled(self) -> bool:
        """Whether the run was cancelled."""
        return self._run is not None and self._run.cancelled

    def first_line(self) -> dict[str, Json]:
        """What the worker is given."""
        return self._line

    def watch(self, run: Watched) -> None:
        """``run`` is what is cancelled."""
        self._run = run
        self._strike()

    def write(self, line: bytes) -> None:
        """Receive a line."""
        self._receive(line)

    def ask(self, line: bytes, tag: Tag) -> dict[str, Json]:
        """Receive a line and answer it."""
        if tag in self._asked:
            raise RuntimeError(f"{tag[1]!r} is under way already")
        answer = self._receive(line)
        assert answer is not None, f"{tag[0]} is answered"
        return answer

    async def ask_async(self, line: bytes, tag: Tag) -> dict[str, Json]:
        """The same, and let the rest of the worker go on."""
        import asyncio

        answer = self.ask(line, tag)
        self._asked.add(tag)
        try:
            await asyncio.sleep(0)
        finally:
            self._asked.discard(tag)
        return answer

    def listen(self, tag: Tag, receive: Receiver) -> None:
        """Have ``receive`` called with what the worker is told of that call."""
        if tag in self._listening:
            raise RuntimeError(f"{tag[1]!r} is under way already")
        self._listening[tag] = receive

    def forget(self, tag: Tag) -> None:
        """Nothing more is expected for this."""
        self._listening.pop(tag, None)

    def wait(self, arrived: Callable[[], object]) -> None:
        """Everything has arrived that will: where that is not so, the run was cancelled meanwhile."""
        if not arrived():
            raise Cancelled

    def wait_in_thread(self, arrived: _thread.LockType) -> None:
        """Everything has arrived that will, and so this has."""
        arrived.acquire()

    @property
    def in_main_thread(self) -> bool:
        """Whether the caller is in the thread in which the worker began."""
        return _thread.get_ident() == self._main

    def attach(self, loop: AbstractEventLoop, stop: Callable[[], object]) -> None:
        """Cancel by ``stop``, which is called in the event loop."""
        self._stop = lambda: loop.call_soon_threadsafe(stop)
        loop.set_exception_handler(_handle)

    def detach(self, loop: AbstractEventLoop) -> None:
        """The event loop has ended."""
        self._stop = self._raise_cancelled

    def ignore_signals(self) -> None:
        """There are none."""

    def _receive(self, line: bytes) -> dict[str, Json] | None:
        if self.killed:
            raise Killed
        with self._lock:
            try:
                answer = self._transcript.receive(line)
            except TooLarge as error:
                self.killed, self.too_large = True, str(error)
                raise Killed from error
            told = self._transcript.told[:]
            self._transcript.told.clear()
        for fields in told:
            if receive := self._listening.get(("call", str(fields["id"]))):
                receive(fields)
        self._strike()
        return answer

    def _strike(self) -> None:
        """Let happen what is to happen after as many lines; nothing does after the worker's end."""
        written = len(self._transcript.events)
        if self._transcript.ended is None and written == self._crash_after:
            self.killed = True
            raise Killed
        if self._transcript.ended is None and written == self._cancel_after and not self.cancelled:
            assert self._run is not None
            self._run.cancelled = self._to_stop = True
        if self._to_stop and (_thread.get_ident() == self._main or self._stop != self._raise_cancelled):
            self._to_stop = False
            self._stop()

    @staticmethod
    def _raise_cancelled() -> None:
        raise Cancelled
