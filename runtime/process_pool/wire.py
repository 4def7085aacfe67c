"""What the two sides of a process's socket say: JSON, each value after its length."""

from __future__ import annotations

import socket
import struct
from typing import Any

import orjson

_LENGTH = struct.Struct("!I")


def send(connection: socket.socket, value: Any) -> None:
    """Send a value. Raises OSError."""
    line = orjson.dumps(value)
    connection.sendall(_LENGTH.pack(len(line)) + line)


def receive(connection: socket.socket) -> Any:
    """The next value. Raises OSError, also where the other side has gone."""
    (length,) = _LENGTH.unpack(_read(connection, _LENGTH.size))
    return orjson.loads(_read(connection, length))


def _read(connection: socket.socket, length: int) -> bytes:
    parts = []
    while length:
        part = connection.recv(min(length, 1 << 16))
        if not part:
            raise ConnectionResetError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
