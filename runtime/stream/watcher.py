"""Watchers: what the sender of a stream iterates over. Each holds a position, never a queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
from gevent.hub import Waiter, get_hub

from runtime.errors import StreamUnavailable
from runtime.stream.entries import EMPTY, Batch

RETRY_AFTER = 0.5
"""Seconds to wait where Redis could not be read."""


class Watcher(Iterator[Batch | None]):
    """Yields batches to send, and None where it has yielded nothing for ``heartbeat`` seconds.

    Blocks cooperatively while there is nothing. ``close`` it when done.
    """

    __slots__ = ("_ended", "_heartbeat", "_heartbeat_due", "_on_close", "_scheduled", "_waiter", "_woken")

    def __init__(self, heartbeat: float, on_close: Callable[[Watcher], None]) -> None:
        self._heartbeat = heartbeat
        self._on_close = on_close
        self._ended = False
        self._waiter: Any = None
        self._woken = False
        self._scheduled = False
        self._heartbeat_due = time.monotonic() + heartbeat

    @property
    def ended(self) -> bool:
        """Whether nothing comes any more."""
        return self._ended

    @property
    def waiting(self) -> bool:
        """Whether a greenlet waits in it for something to send."""
        return self._waiter is not None

    def __next__(self) -> Batch | None:
        while not self._ended:
            # Clear the flag, then look: a wake-up that comes meanwhile makes it look again.
            self._woken = False
            batch = self._poll()
            if batch.records or time.monotonic() >= self._heartbeat_due:
                self._heartbeat_due = time.monotonic() + self._heartbeat
                return batch if batch.records else None
            if not self._ended and not self._woken:
                self._wait()
        self.close()
        raise StopIteration

    def wake(self) -> None:
        """Look again for something to send. Called from any greenlet of the same thread."""
        self._woken = True
        if self._waiter is not None and not self._scheduled:
            self._scheduled = True
            get_hub().loop.run_callback(self._on_wake)

    def check_heartbeat(self, now: float) -> None:
        """Wake it if its heartbeat is due."""
        if now >= self._heartbeat_due:
            self.wake()

    def end(self) -> None:
        """Let it end at once."""
        self._ended = True
        self.wake()

    def close(self) -> None:
        """End it and leave the feed; more than once does no harm."""
        self.end()
        self._on_close(self)

    def _wait(self) -> None:
        waiter = self._waiter = Waiter()
        try:
            waiter.get()
        finally:
            self._waiter = None

    def _on_wake(self) -> None:
        """In gevent's hub: send from here if possible, else switch to the greenlet if it still waits."""
        self._scheduled = False
        waiter = self._waiter
        if waiter is None:
            return
        sent = False
        try:
            # The greenlet has to end the stream itself, and it gets a turn with each heartbeat
            # however much is sent without it: its caller may want to check whether to go on.
            sent = not self._ended and time.monotonic() < self._heartbeat_due and self._send_directly()
        finally:
            if not sent:
                self._waiter = None
                waiter.switch(None)

    def _send_directly(self) -> bool:
        """Send without switching to the waiting greenlet; must not block. False where that is impossible."""
        return False

    def _poll(self) -> Batch:
        try:
            return self.advance()
        except StreamUnavailable:
            gevent.sleep(RETRY_AFTER)
            self._woken = True
            return EMPTY

    def advance(self) -> Batch:
        """What there is to send now, which counts as sent; may set ``_ended``. Raises StreamUnavailable."""
        raise NotImplementedError
