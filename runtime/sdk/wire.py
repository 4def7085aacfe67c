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
from _signal import signal as _handle  # type: ignore[import-not-found]
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from runtime.sdk.errors import Cancelled
from runtime.sdk.messages import Json

if TYPE_CHECKING:
    from runtime.sdk.run import Run

SIGNALS = (signal.SIGTERM, signal.SIGIO)
_SIGTERM, _SIGIO = map(int, SIGNALS)
_scan: Callable[[str, int], tuple[Json, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
"""The core of ``json.loads``; the rest of that function costs a child forty pages."""


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
        self._run: Run | None = None
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

    def watch(self, run: Run) -> None:
        """Stop the worker when the pool sends the cancel command, closes the pipe, or sends SIGTERM.

        The kernel sends SIGIO when something arrives in the pipe. A thread that waits for
        it would cost more than all the rest of a start.
        """
        self._run = run
        self.install_handlers()
        fcntl.fcntl(self._input, fcntl.F_SETOWN, os.getpid())
        flags = fcntl.fcntl(self._input, fcntl.F_GETFL)
        fcntl.fcntl(self._input, fcntl.F_SETFL, flags | os.O_ASYNC | os.O_NONBLOCK)
        self.read_commands()  # what arrived before SIGIO was enabled

    def install_handlers(self) -> None:
        """Have both signals raise Cancelled wherever the worker is; for workers without an event loop."""
        self.stop = self._raise_cancelled
        _handle(_SIGTERM, lambda *_: self.cancel())
        _handle(_SIGIO, lambda *_: self.read_commands())

    def read_commands(self) -> None:
        """Read what arrived in the pipe, or its end."""
        try:
            while chunk := os.read(self._input, 1 << 16):
                self._unread += chunk
        except BlockingIOError:
            *lines, self._unread = self._unread.split(b"\n")
            if not any(map(_is_cancel, lines)):
                return
        self.cancel()

    def cancel(self) -> None:
        """Stop the worker, once, and not in the middle of a line."""
        assert self._run is not None
        if self._run.cancelled:
            return  # a worker that cleans up is not interrupted again
        self._run.cancelled = True
        if self._writing:
            self._stop_after_write = True
        else:
            self.stop()

    @staticmethod
    def _raise_cancelled() -> NoReturn:
        raise Cancelled


def decode_json(text: str) -> Json:
    """``json.loads``, without its cost where the text starts with the value. Raises ValueError."""
    try:
        return _scan(text, 0)[0]
    except StopIteration:  # not JSON, or white space first: neither comes from a pool
        return json.loads(text)


def _is_cancel(line: bytes) -> bool:
    try:
        return bool(json.loads(line).get("type") == "cancel")
    except (ValueError, AttributeError):
        return False


def line_buffer_stdout() -> None:
    """Have what a worker prints reach its log at the end of each line, not of the process."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
