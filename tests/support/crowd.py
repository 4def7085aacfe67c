"""Many readers of one stream, in one thread: some read, some stop, some vanish."""

from __future__ import annotations

import ctypes
import selectors
import socket
import struct
import time
from collections.abc import Iterable

from runtime.testing.client import Client

HEARTBEAT = b": hb\n\n"
_SO_ATTACH_FILTER = 26
_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)
"""A packet filter, ``return 0``."""


class Seat:
    """One connection, and the body that has come over it."""

    def __init__(self, client: Client, path: str, small: bool = False, last: str | None = None) -> None:
        """``small``: little of what is sent fits in between. ``last``: the id of the last event seen."""
        self.socket = socket.socket()
        if small:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect((client.base_url.host, client.base_url.port))
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n"
        head += f"Last-Event-ID: {last}\r\n" if last else ""
        self.socket.sendall(f"{head}\r\n".encode())
        self.socket.setblocking(False)
        self.ended = False
        """Whether the body came to its end; else the connection was cut, if it is closed."""
        self.closed = False
        self._raw = bytearray()
        self._body: list[bytes] = []
        self._headed = False

    @property
    def body(self) -> bytes:
        """What came, without heartbeats."""
        return b"".join(self._body)

    def read(self) -> None:
        """Take what is there."""
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
        self._raw += data
        self._unpack()

    def vanish(self) -> None:
        """Say nothing more, not even that it is gone: what the server sends is dropped unanswered."""
        program = ctypes.create_string_buffer(_DROP_ALL)
        drop_all = struct.pack("HP", 1, ctypes.addressof(program))
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, drop_all)

    def reset(self) -> None:
        """Break the connection off."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()
        self.closed = True

    def _unpack(self) -> None:
        if not self._headed:
            head, found, rest = self._raw.partition(b"\r\n\r\n")
            if not found:
                return
            assert head.split()[1] == b"200", head
            self._raw, self._headed = rest, True
        while (at := self._raw.find(b"\r\n")) >= 0:
            size = int(self._raw[:at], 16)
            if len(self._raw) < at + size + 4:
                return
            piece = bytes(self._raw[at + 2 : at + 2 + size])
            del self._raw[: at + size + 4]
            if size == 0:
                self.ended = True
                return self.close()
            if piece != HEARTBEAT:
                self._body.append(piece)


def read(seats: Iterable[Seat], within: float, until: bytes | None = None) -> None:
    """Read for all of them, until each has come to its end, or has been sent ``until``."""
    deadline = time.monotonic() + within
    with selectors.DefaultSelector() as selector:
        for seat in seats:
            if not seat.closed:
                selector.register(seat.socket, selectors.EVENT_READ, seat)
        while selector.get_map():
            assert time.monotonic() < deadline, f"{len(selector.get_map())} readers still wait"
            for key, _ in selector.select(1):
                key.data.read()
                if key.data.closed or (until is not None and until in key.data.body):
                    selector.unregister(key.fileobj)
