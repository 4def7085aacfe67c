"""A client of Socket.IO over WebSockets that costs next to nothing: it only keeps what came, and when."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
import time
from collections.abc import Iterator
from typing import Any

import orjson

from bench.client import Client

_PATH = "/socket.io/?EIO=4&transport=websocket"
_LONGEST = 30.0
"""Seconds after which an answer has failed to come."""


class Socket(asyncio.Protocol):
    """One socket of one client."""

    def __init__(self) -> None:
        self.pieces: list[tuple[float, bytes]] = []
        """What came, and when (``time.time()``)."""
        self._awaited: tuple[bytes, asyncio.Future[None]] | None = None
        self._transport: Any = None

    @classmethod
    async def connect(cls, client: Client) -> Socket:
        """Connect as the account of ``client``."""
        loop = asyncio.get_running_loop()
        transport, made = await loop.create_connection(cls, "127.0.0.1", client.port)
        made._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {_PATH} HTTP/1.1", f"Host: 127.0.0.1:{client.port}", "Connection: Upgrade",
            "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}",
            *(f"{name}: {value}" for name, value in client.headers.items()),
        ]  # fmt: skip
        await made._ask("\r\n".join([*lines, "", ""]).encode(), b'0{"sid"')
        await made._ask(_frame(b"40"), b'40{"sid"')
        return made

    async def join(self, session_id: str) -> None:
        """Join an agent chat."""
        event = orjson.dumps(["join_chat", {"session_id": session_id}])
        await self._ask(_frame(b"42" + event), b"connection_confirmed")

    def packets(self) -> Iterator[tuple[float, bytes]]:
        """What came since the socket was opened, and when the piece came that completed it."""
        rest = b""
        for at, piece in self.pieces:
            if rest == b"" and piece.startswith(b"HTTP/1.1"):
                piece = piece.partition(b"\r\n\r\n")[2]
            rest += piece
            while frame := _content(rest):
                yield at, frame[0]
                rest = rest[frame[1] :]

    def close(self) -> None:
        """Close it, whatever is still to come."""
        self._transport.abort()

    async def _ask(self, data: bytes, answer: bytes) -> None:
        self._awaited = answer, asyncio.get_running_loop().create_future()
        self._transport.write(data)
        async with asyncio.timeout(_LONGEST):
            await self._awaited[1]

    def data_received(self, data: bytes) -> None:
        """Of asyncio."""
        self.pieces.append((time.time(), data))
        if self._awaited is not None:
            text, done = self._awaited
            if text in b"".join(piece for _, piece in self.pieces[-3:]):
                self._awaited = None
                if not done.done():  # whoever waited may have given up
                    done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """Of asyncio."""
        if self._awaited is not None and not self._awaited[1].done():
            self._awaited[1].set_exception(ConnectionError(f"the socket was closed: {error}"))


def _frame(content: bytes) -> bytes:
    """A text frame of a client's, masked with zeros."""
    size = len(content)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
    return b"\x81" + length + bytes(4) + content


def _content(data: bytes) -> tuple[bytes, int] | None:
    """What the first frame of a server has, and its size; None where it has not come whole."""
    if len(data) < 2:
        return None
    size, begin = data[1], 2
    if size == 126:
        size, begin = int.from_bytes(data[2:4]), 4
    elif size == 127:
        size, begin = int.from_bytes(data[2:10]), 10
    end = begin + size
    return (data[begin:end], end) if len(data) >= end else None
