"""Whether the client of a request has closed its connection, while the answer takes its time."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent

_TCP_INFO = getattr(socket, "TCP_INFO", None)
_ESTABLISHED = 1
"""On Linux the first byte of ``struct tcp_info`` is the state of the connection; this is TCP_ESTABLISHED."""
_READABLE = 1
"""What libev calls EV_READ."""


def disconnected(connection: Any) -> bool:
    """Whether the client has closed its end of the connection, or no longer answers.

    The first write to a closed connection still succeeds, so that a write does not tell.
    False where ``connection`` is None, or the system does not tell either (Linux does).
    """
    if connection is None or _TCP_INFO is None:
        return False
    try:
        state: bytes = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1)
    except OSError:
        return False
    return state[0] != _ESTABLISHED


@contextmanager
def on_disconnect(connection: Any, notify: Callable[[], None]) -> Iterator[None]:
    """Call ``notify`` when the client of ``connection`` disconnects within the block.

    It is called in gevent's hub, so it must not block. A client that has sent its next request
    already is no longer watched: ask :func:`disconnected` now and then. Nothing is watched where
    ``connection`` is None.
    """
    if connection is None:
        yield
        return
    watcher = gevent.get_hub().loop.io(connection.fileno(), _READABLE)

    def look() -> None:
        watcher.stop()  # it would be called again at once, as nobody reads what there is
        if disconnected(connection):
            notify()

    watcher.start(look)
    try:
        yield
    finally:
        watcher.stop()
        watcher.close()
