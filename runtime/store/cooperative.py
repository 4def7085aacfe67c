"""PostgreSQL connections under gevent.

psycopg waits in ``select.poll``, which gevent replaces by one that makes new
watchers at each call. A query is one wait, so a connection keeps its own.
"""

from __future__ import annotations

import select
from typing import Any, TypeVar

import gevent
import psycopg
from gevent.monkey import get_original
from psycopg import waiting

T = TypeVar("T")

_READ, _WRITE = 1, 2
_poll = get_original("select", "poll")


class Connection(psycopg.Connection[Any]):
    """A connection whose waits let other greenlets run."""

    _readable: Any = None
    _usable: Any = None

    def wait(self, gen: Any, interval: float = 0.0, timeout: float | None = None) -> Any:
        """Drive one of psycopg's generators to its end; its result."""
        try:
            state = next(gen)
            while True:
                state = gen.send(self._until(state))
        except StopIteration as end:
            return end.value

    def _until(self, state: int) -> int:
        """Wait as the generator asks; what the socket is ready for."""
        hub = gevent.get_hub()
        descriptor = self.pgconn.socket
        if state == waiting.WAIT_R:
            if self._readable is None:
                self._readable = hub.loop.io(descriptor, _READ)
            hub.wait(self._readable)
            return waiting.READY_R
        if self._usable is None:
            self._usable = hub.loop.io(descriptor, _READ | _WRITE if state == waiting.WAIT_RW else _WRITE)
        hub.wait(self._usable)
        return _ready(descriptor)

    def close(self) -> None:
        """Close the connection and its watchers."""
        for watcher in (self._readable, self._usable):
            if watcher is not None:
                watcher.close()
        self._readable = self._usable = None
        super().close()


def _ready(descriptor: int) -> int:
    poll = _poll()
    poll.register(descriptor, select.POLLIN | select.POLLOUT)
    found = sum(event for _, event in poll.poll(0))
    return (waiting.READY_R if found & select.POLLIN else 0) | (
        waiting.READY_W if found & select.POLLOUT else 0
    )
