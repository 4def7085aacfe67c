"""A tunnel: bytes in both directions, until both sides have ended or nothing has come for long."""

from __future__ import annotations

import socket
import threading

_CHUNK = 64 * 1024


def join(one: socket.socket, other: socket.socket, idle: float) -> None:
    """Pass on what each sends to the other; returns when both have ended.

    ``idle``: after how many seconds without a byte in one direction that one is given up.
    """
    one.settimeout(idle)
    other.settimeout(idle)
    back = threading.Thread(target=_pump, args=(other, one), daemon=True)
    back.start()
    _pump(one, other)
    back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
    except OSError:
        _shut(source, socket.SHUT_RDWR)  # broken, not ended: the other direction has nobody to serve
        _shut(sink, socket.SHUT_RDWR)
    else:
        _shut(sink, socket.SHUT_WR)


def _shut(end: socket.socket, how: int) -> None:
    try:
        end.shutdown(how)
    except OSError:
        pass  # it is closed already
