"""A client of HTTP and Server-Sent Events that costs next to nothing.

It shares its two cores with what it measures. So while something is measured it
only keeps what came and when; everything else is done afterwards.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

LONGEST = 60.0
"""Seconds after which an answer has failed to come."""
KEPT = 1.0
"""Seconds for which an idle connection is used again; servers close them after two or more."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event, and when the piece came that completed it (``time.time()``)."""

    at: float
    type: str
    data: bytes


@dataclass(slots=True)
class Reply:
    """What came back for one request."""

    sent_at: float = 0.0
    until: bytes | None = None
    """What ends a stream for us though the server goes on."""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    """What came, and when."""
    begun: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Done once the headers and some of the body have come."""
    ended: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def body(self) -> bytes:
        """The whole body."""
        return b"".join(piece for _, piece in self._dechunked())

    def json(self) -> Any:
        """The whole body, decoded."""
        return orjson.loads(self.body())

    def events(self) -> Iterator[Event]:
        """The events of a stream, so far."""
        text = b""
        for at, piece in self._dechunked():
            text += piece
            *blocks, text = text.split(b"\n\n")
            for block in blocks:
                lines = [line for line in block.split(b"\n") if line and not line.startswith(b":")]
                fields = dict(line.split(b": ", 1) for line in lines)
                if b"data" in fields:
                    yield Event(at, fields.get(b"event", b"message").decode(), fields[b"data"])

    def _dechunked(self) -> Iterator[tuple[float, bytes]]:
        is_plain = self.headers.get("transfer-encoding") != "chunked"
        rest = b""
        for number, (at, piece) in enumerate(self.pieces):
            if number == 0:
                piece = piece.partition(b"\r\n\r\n")[2]
            if is_plain:
                yield at, piece
                continue
            rest += piece
            found = []
            while (end := rest.find(b"\r\n")) >= 0:
                size = int(rest[:end], 16)
                if len(rest) < end + size + 4:
                    break
                found.append(rest[end + 2 : end + 2 + size])
                rest = rest[end + size + 4 :]
            if found:
                yield at, b"".join(found)


class Connection(asyncio.Protocol):
    """A connection that is kept for one request after the other."""

    def __init__(self) -> None:
        self.reply: Reply | None = None
        self.open = False
        self._transport: Any = None
        self._missing = 0
        self._chunked = False
        self._tail = b""

    def connection_made(self, transport: Any) -> None:
        """Of asyncio."""
        self._transport, self.open = transport, True

    def send(self, data: bytes, until: bytes | None = None) -> Reply:
        """Send a request; only one at a time."""
        self.reply = reply = Reply(time.time(), until)
        self._transport.write(data)
        return reply

    def data_received(self, data: bytes) -> None:
        """Of asyncio."""
        now = time.time()
        reply = self.reply
        if reply is None:
            return
        reply.pieces.append((now, data))
        if not reply.status:
            if b"\r\n\r\n" not in data:
                reply.pieces = [(now, b"".join(piece for _, piece in reply.pieces))]
            if not self._read_head(reply):
                return
            reply.begun.set_result(None)
            # A head may end as a body does.
            data, self._tail = reply.pieces[0][1].partition(b"\r\n\r\n")[2], b""
        else:
            self._missing -= len(data)
        if self._chunked:
            self._tail = (self._tail + data)[-5:] if len(data) < 5 else data[-5:]
            if self._tail == b"0\r\n\r\n":
                self._end(reply)
        elif self._missing <= 0:
            self._end(reply)
        if reply.until is not None and reply.until in data and not reply.ended.done():
            self._end(reply)

    def connection_lost(self, error: Exception | None) -> None:
        """Of asyncio."""
        self.open = False
        if self.reply is not None:
            for waiting in (self.reply.begun, self.reply.ended):
                if not waiting.done():
                    waiting.set_exception(ConnectionError(f"the connection was lost: {error}"))
                    waiting.exception()  # nobody may be waiting

    def close(self) -> None:
        """Close it, whatever is still to come."""
        self.reply, self.open = None, False
        self._transport.abort()

    def _read_head(self, reply: Reply) -> bool:
        head, end, body = reply.pieces[0][1].partition(b"\r\n\r\n")
        if not end:
            return False
        first, *lines = head.decode("latin-1").split("\r\n")
        reply.status = int(first.split(" ")[1])
        reply.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self._chunked = reply.headers.get("transfer-encoding") == "chunked"
        self._missing = int(reply.headers.get("content-length", 0)) - len(body)
        return True

    def _end(self, reply: Reply) -> None:
        self.reply = None
        if not reply.ended.done():  # whoever waited may have given up
            reply.ended.set_result(None)


class Client:
    """Connections to one server, lent and given back."""

    def __init__(self, port: int, **headers: str) -> None:
        self.port = port
        self.headers = headers
        self._idle: list[tuple[float, Connection]] = []

    async def request(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Send a request and wait for the whole answer. Raises RuntimeError where it is an error."""
        connection, reply = await self.begin(method, path, body, None, **headers)
        await self.finish(connection, reply)
        if reply.status >= 400:
            raise RuntimeError(f"{method} {path}: {reply.status} {reply.body()[:500].decode()}")
        return reply

    async def begin(
        self, method: str, path: str, body: Any = None, until: bytes | None = None, **headers: str
    ) -> tuple[Connection, Reply]:
        """Send a request; the caller waits for what it wants, and then finishes or closes."""
        connection = self._kept() or await self._connect()
        content = b"" if body is None else orjson.dumps(body)
        return connection, connection.send(self._head(method, path, len(content), headers) + content, until)

    async def finish(self, connection: Connection, reply: Reply, *, keep: bool = True) -> None:
        """Wait for the end of the answer; keep the connection for the next request, or do not."""
        async with asyncio.timeout(LONGEST):
            await reply.ended
        if keep and reply.headers.get("connection", "").lower() != "close":
            self._idle.append((time.monotonic(), connection))
        else:
            connection.close()

    def close(self) -> None:
        """Close what is idle."""
        for _, connection in self._idle:
            connection.close()
        self._idle.clear()

    def _kept(self) -> Connection | None:
        """An idle connection that the server is not about to close."""
        while self._idle:
            since, connection = self._idle.pop()
            if connection.open and time.monotonic() - since < KEPT:
                return connection
            connection.close()
        return None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", self.port)
        return connection

    def _head(self, method: str, path: str, length: int, headers: dict[str, str]) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {length}"]
        if length:
            lines.append("Content-Type: application/json")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in {**self.headers, **headers}.items()]
        return "\r\n".join([*lines, "", ""]).encode()
