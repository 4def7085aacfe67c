"""The wire: the pipes between a worker's process and the pool."""

from __future__ import annotations

import _thread
import fcntl
import io
import json
import os
import signal
import sys

# The wrappers in the signal module, which turn arguments and results into enums, cost each
# child twenty pages of memory that it would share otherwise.
from _signal import set_wakeup_fd as _set_wakeup_fd  # type: ignore[import-not-found]
from _signal import signal as _handle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from .errors import Cancelled
from .messages import Json

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from typing import Protocol

    class Watched(Protocol):
        """What a wire stops: the run, or what stands for it."""

        cancelled: bool
        handed_back: bool

    class Connection(Protocol):
        """What leads to the pool: a :class:`Wire`, or what stands for a pool in a test of a worker.

        Each method is explained there.
        """

        def write(self, line: bytes) -> None: ...
        def first_line(self) -> dict[str, Json] | None: ...
        def watch(self, run: Watched) -> None: ...
        def attach(self, loop: AbstractEventLoop, stop: Callable[[], object]) -> None: ...
        def detach(self, loop: AbstractEventLoop) -> None: ...
        def ignore_signals(self) -> None: ...
        def ask(self, line: bytes, tag: Tag) -> dict[str, Json]: ...
        async def ask_async(self, line: bytes, tag: Tag) -> dict[str, Json]: ...
        def listen(self, tag: Tag, receive: Receiver) -> None: ...
        def forget(self, tag: Tag) -> None: ...
        def wait(self, arrived: Callable[[], object]) -> None: ...
        def wait_in_thread(self, arrived: _thread.LockType) -> None: ...
        @property
        def in_main_thread(self) -> bool: ...


SIGNALS = (signal.SIGTERM, signal.SIGIO)
_SIGTERM, _SIGIO = map(int, SIGNALS)
_scan: Callable[[str, int], tuple[Json, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
"""The core of ``json.loads``; the rest of that function costs a child forty pages."""


_SIGNAL_AGAIN, _LONGEST_PAUSE = 0.2, 5.0
"""Seconds after which a thread that waits for an answer has the main thread read once more; doubled each
time, up to the second."""

Tag = tuple[str, str]
"""What an answer is expected by: the type of what was asked, and its key."""
_ASKED = {
    "saved": "save",
    "message": "inbox",
    **dict.fromkeys(("called", "delta", "question", "result"), "call"),
}
"""The type of an answer → that of what it answers."""
Receiver = Callable[[dict[str, Json]], object]


class Wire:
    """The pipes to and from the pool."""

    def __init__(self, input: int, output: int) -> None:
        """Owns two descriptors, which programs that the worker starts do not inherit."""
        self._input = input
        self._output = output
        self._main = _thread.get_ident()
        self._lock = _thread.allocate_lock()
        self._writing = False
        self._stop_after_write = False
        self._unread = b""
        self._reading = False
        self._more = False
        """More has arrived while it was read."""
        self._terminated = False
        """Whether SIGTERM has come."""
        self._expected: dict[Tag, Receiver] = {}
        """Who is told of which line from the pool."""
        self._time_is_over = False
        """Whether the run ends for that; SIGTERM follows."""
        self._run: Watched | None = None
        self.stop: Callable[[], object] = self._raise_cancelled
        """Stops the worker; called in the main thread."""

    def write(self, line: bytes) -> None:
        """Write a line completely, even if the run is cancelled meanwhile."""
        main = _thread.get_ident() == self._main
        with self._lock:
            try:
                self._writing = main
                while line:
                    line = line[os.write(self._output, line) :]
            finally:
                self._writing = False
        if main and self._stop_after_write:
            self._stop_after_write = False
            self.stop()

    def first_line(self) -> dict[str, Json] | None:
        """The ``run`` line; None where the input ends without one."""
        parts = []
        while chunk := os.read(self._input, 1 << 16):
            line, newline, rest = chunk.partition(b"\n")
            parts.append(line)
            if newline:
                self._unread = rest
                first = decode_json(b"".join(parts).decode())
                return first if isinstance(first, dict) else None
        return None

    def watch(self, run: Watched) -> None:
        """Stop the worker when the pool sends the cancel command, closes the pipe, or sends SIGTERM.

        The kernel sends SIGIO when something arrives in the pipe. A thread that waits for
        it would cost more than all the rest of a start.
        """
        self._run = run
        # First, for the handler of SIGTERM reads, and must not wait.
        flags = fcntl.fcntl(self._input, fcntl.F_GETFL) | os.O_NONBLOCK
        fcntl.fcntl(self._input, fcntl.F_SETFL, flags)
        self.install_handlers()
        fcntl.fcntl(self._input, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self._input, fcntl.F_SETFL, flags | os.O_ASYNC)
        self.read_commands()  # what arrived before SIGIO was enabled

    def install_handlers(self) -> None:
        """Have both signals raise Cancelled wherever the worker is; for workers without an event loop."""
        self.stop = self._raise_cancelled
        _handle(_SIGTERM, lambda *_: self.terminate())
        _handle(_SIGIO, lambda *_: self.read_commands())

    def attach(self, loop: AbstractEventLoop, stop: Callable[[], object]) -> None:
        """Have both signals handled by an event loop; ``stop`` is called in it to stop the worker."""
        self.stop = stop
        loop.add_signal_handler(_SIGTERM, self.terminate)
        loop.add_signal_handler(_SIGIO, self.read_commands)
        # The loop calls no handler while the worker is in :meth:`ask`; this one is called there.
        _handle(_SIGTERM, self._note_sigterm)

    def detach(self, loop: AbstractEventLoop) -> None:
        """Handle both signals without the event loop again."""
        # Without its handlers the loop restores the kernel's default, which ends the process;
        # so both signals are blocked until our own handlers are installed again.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for number in SIGNALS:
            loop.remove_signal_handler(number)
        self.install_handlers()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    @staticmethod
    def ignore_signals() -> None:
        """Have neither stop the worker any more."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def read_commands(self) -> None:
        """Read what arrived in the pipe, or its end."""
        self._more = True
        if self._reading:
            return  # whom this signal has interrupted reads on
        while self._more:
            self._reading = True
            try:
                self._more = False
                self._read()
            finally:
                self._reading = False
        if self._terminated:
            self._cancel_terminated()

    def ask(self, line: bytes, tag: Tag) -> dict[str, Json]:
        """Write a line, and wait for the line from the pool that answers it.

        Raises Cancelled where there will be none.
        """
        answer: list[dict[str, Json]] = []
        if _thread.get_ident() == self._main:
            with self._expecting(tag, answer.append):
                self.write(line)
                self._read_until(lambda: answer)
        else:
            arrived = _thread.allocate_lock()
            arrived.acquire()

            def receive(fields: dict[str, Json]) -> None:
                answer.append(fields)
                arrived.release()

            with self._expecting(tag, receive):
                self.write(line)
                self.wait_in_thread(arrived)
        return answer[0]

    def listen(self, tag: Tag, receive: Receiver) -> None:
        """Have ``receive`` called with each line that answers what is to be asked, until :meth:`forget`.

        It is called by whoever reads, in the main thread, and must not wait.
        """
        if tag in self._expected:
            raise RuntimeError(f"{tag[1]!r} is under way already")
        self._expected[tag] = receive

    def forget(self, tag: Tag) -> None:
        """No more lines are expected for this."""
        self._expected.pop(tag, None)

    def wait(self, arrived: Callable[[], object]) -> None:
        """Wait in the main thread until ``arrived()`` is true, which lines that are read make so.

        Raises Cancelled where it never will be. To be called in the main thread only: the others
        wait for whatever ``arrived`` looks at.
        """
        self._read_until(arrived)

    def wait_in_thread(self, arrived: _thread.LockType) -> None:
        """Wait outside of the main thread for a lock, which the main thread releases when it has read.

        A signal that comes just before the main thread begins to wait for a lock of its own does not
        wake it: Python handles signals between two instructions. So it is sent again now and then.
        """
        pause = _SIGNAL_AGAIN
        while not arrived.acquire(timeout=pause):
            signal.pthread_kill(self._main, _SIGIO)
            pause = min(2 * pause, _LONGEST_PAUSE)

    @property
    def in_main_thread(self) -> bool:
        """Whether the caller reads by itself, by :meth:`wait`."""
        return _thread.get_ident() == self._main

    async def ask_async(self, line: bytes, tag: Tag) -> dict[str, Json]:
        """The same, for a worker with an event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        answer: asyncio.Future[dict[str, Json]] = loop.create_future()

        def receive(fields: dict[str, Json]) -> None:
            if not answer.done():
                answer.set_result(fields)

        with self._expecting(tag, lambda fields: loop.call_soon_threadsafe(receive, fields)):
            self.write(line)
            return await answer

    @contextmanager
    def _expecting(self, tag: Tag, receive: Receiver) -> Iterator[None]:
        self.listen(tag, receive)
        try:
            yield
        finally:
            self.forget(tag)

    def _read_until(self, arrived: Callable[[], object]) -> None:
        """Wait in the main thread; meanwhile no signal handler reads, or it would take what we wait for."""
        import select

        assert self._run is not None
        cleaning_up = self._run.cancelled  # what a worker does then is not interrupted
        poll = select.poll()
        poll.register(self._input, select.POLLIN)
        with _Signals() as signals:
            poll.register(signals, select.POLLIN)
            self._reading = True
            try:
                while True:
                    still_open = self._read()
                    if self._terminated:
                        self._cancel_terminated()
                    if arrived():
                        break
                    if not still_open or self._run.cancelled > cleaning_up:
                        raise Cancelled
                    poll.poll()
                    signals.note()
            finally:
                self._reading = False
        self.read_commands()

    def _read(self) -> bool:
        """Read what there is and pass it on; False at the end of the input."""
        ended = False
        try:
            while chunk := os.read(self._input, 1 << 16):
                self._unread += chunk
            ended = True
        except BlockingIOError:
            pass
        *lines, self._unread = self._unread.split(b"\n")
        cancelled = False
        for line in lines:
            fields = _object(line)
            if fields.get("type") == "cancel":
                cancelled = True
            elif fields.get("type") == "timeout":
                self._time_is_over = True
            elif receive := self._expected.get(_tag(fields)):
                receive(fields)
        if cancelled or ended:
            self.cancel(handed_back=not cancelled and not self._time_is_over)
        return not ended

    def terminate(self) -> None:
        """SIGTERM has come. If the run ends, the pool has said so in a line before, which is read first."""
        self._terminated = True
        self.read_commands()

    def _note_sigterm(self, *_: object) -> None:
        self._terminated = True

    def _cancel_terminated(self) -> None:
        self.cancel(handed_back=not self._time_is_over)

    def cancel(self, *, handed_back: bool) -> None:
        """Stop the worker, once, and not in the middle of a line. ``handed_back``: see Run."""
        assert self._run is not None
        if self._run.cancelled:
            return  # a worker that cleans up is not interrupted again
        self._run.handed_back = handed_back
        self._run.cancelled = True
        if self._writing:
            self._stop_after_write = True
        else:
            self.stop()

    @staticmethod
    def _raise_cancelled() -> NoReturn:
        raise Cancelled


class _Signals:
    """Notes the signals that come while it is open; an event loop is told of them afterwards."""

    def __enter__(self) -> _Signals:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._noted = b""
        """The number of each one, a byte each."""
        self._before = _set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        return self

    def __exit__(self, *exception: object) -> None:
        _set_wakeup_fd(self._before, warn_on_full_buffer=False)
        self.note()
        os.close(self._reader)
        os.close(self._writer)
        if self._before != -1 and self._noted:
            os.write(self._before, self._noted)

    def fileno(self) -> int:
        """Readable when one has come that is not noted."""
        return self._reader

    def note(self) -> None:
        try:
            self._noted += os.read(self._reader, 1 << 12)
        except BlockingIOError:
            pass


def decode_json(text: str) -> Json:
    """``json.loads``, without its cost where the text starts with the value. Raises ValueError."""
    try:
        return _scan(text, 0)[0]
    except StopIteration:  # not JSON, or white space first: neither comes from a pool
        return json.loads(text)


def _object(line: bytes) -> dict[str, Json]:
    try:
        fields = decode_json(line.decode())
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _tag(fields: dict[str, Json]) -> Tag:
    """By what an answer is expected: of a refusal, too, the type of what was asked."""
    kind = _ASKED.get(str(fields.get("type")), str(fields.get("of")))
    return kind, str(fields.get("id" if kind == "call" else "key") or "")


def line_buffer_stdout() -> None:
    """Have what a worker prints reach its log at the end of each line, not of the process."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
