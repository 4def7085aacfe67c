"""Bounds on what clients may keep a web process waiting for.

A connection costs nothing to open and little to hold. So the head of a request, and each
piece of its body, has to arrive within a time; and of the connections that the process
waits for, only so many are held, in all and from one address. The one that has been
waited for longest gives way to a new one. Where hardly a connection is left, it does so
at once, otherwise not before some seconds: after a restart thousands of clients connect
together, and the process needs a moment to read what they ask for. A request that is
being answered, such as a stream, is not waited for, and none of this concerns it.

Nothing of ours is imported here but :mod:`web.http.addresses`: gunicorn's configuration
imports this before gevent has patched the process.
"""

from __future__ import annotations

import socket
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

from gevent import Timeout

from web.http.addresses import network

MAX_HEAD = 64 * 1024
"""Bytes of a request's head: its line and all its headers."""
MAX_PIECE = 64 * 1024
"""Bytes that are received at once, so that many large bodies at a time do not need a buffer as large."""
MIN_RATE = 8 * 1024
"""Bytes a second, on average, at which a body must arrive once the first wait is over."""
REST_TIME = 1.0
"""Seconds that are waited for a body that nobody reads, beside what it needs at that rate."""
REST = 16 << 20
"""Bytes of a body that nobody reads, which are taken off the connection and dropped; a client that
sends its whole body before it looks for the answer gets it nevertheless."""


class TooSlow(OSError):
    """The client did not send the rest of its request in time."""


class HeadTooLarge(Exception):
    """The head of a request is larger than it may be."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long, in seconds, and for how many clients a process waits."""

    patience: float
    """For the head of a request; and for its body, beside what it needs at the lowest rate."""
    idle: float
    """For the next request on a connection that has had one."""
    total: int
    """Connections that are waited for at once."""
    per_address: int
    """Of them, those from one address."""
    capacity: int
    """Connections that the process can have, with those that it answers."""
    grace: float = 5.0
    """For a connection that is one too many, unless the capacity is nearly exhausted."""

    @property
    def nearly_all(self) -> int:
        """Connections from which on there is no grace."""
        return self.capacity - max(1, self.capacity // 20)


class Part(Enum):
    """What is expected of the client next."""

    HEAD = "the head of a request"
    NEXT = "the head of a further request, or the end of the connection"
    BODY = "the body of a request"
    REST = "the rest of a body that nobody reads"
    ENDLESS = "a body that is sent while it comes to be"


class Clients:
    """All connections of a process that it waits for."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._waiting: dict[str, dict[Client, None]] = defaultdict(dict)
        """By network, in the order in which they began to be waited for: to find the first one must take
        no longer under attack."""
        self._number = 0
        self.open = 0
        """Connections of the process, whether it waits for them or answers them."""

    def __len__(self) -> int:
        """How many are waited for."""
        return self._number

    def enter(self, client: Client) -> None:
        """Wait for ``client``, if it is not waited for already; the first one may have to give way."""
        same_address = self._waiting[client.network]
        if client in same_address:
            return
        if self.open >= self.bounds.nearly_all and self._number:
            self._drop_oldest(max(self._waiting.values(), key=len))
        elif len(same_address) >= self.bounds.per_address:
            self._drop_oldest(same_address, self.bounds.grace)
        elif self._number >= self.bounds.total:
            self._drop_oldest(max(self._waiting.values(), key=len), self.bounds.grace)
        same_address[client] = None
        self._number += 1

    def leave(self, client: Client) -> None:
        """Wait for ``client`` no longer; more than once does no harm."""
        same_address = self._waiting[client.network]
        if client in same_address:
            del same_address[client]
            self._number -= 1
        if not same_address:
            del self._waiting[client.network]

    def _drop_oldest(self, clients: dict[Client, None], grace: float = 0.0) -> None:
        oldest = next(iter(clients))
        if time.monotonic() - oldest.since < grace:
            return
        del clients[oldest]
        self._number -= 1
        oldest.hang_up()


class Client:
    """What one client sends. gunicorn reads it in place of the connection's socket."""

    def __init__(self, connection: socket.socket, address: Any, clients: Clients) -> None:
        """``address``: as accepted; not a tuple where it is a UNIX socket's."""
        self.network = network(address[0] if isinstance(address, tuple) else None)
        self._socket = connection
        self._clients = clients
        self.part = Part.HEAD
        """What is expected now."""
        self._received = 0
        self._waited = 0.0
        self._dropped = False
        clients.open += 1
        self.since = time.monotonic()
        """When the part began that is expected now."""

    @property
    def began(self) -> bool:
        """Whether something of the expected part has been received."""
        return self._received > 0

    def expect_next(self) -> None:
        """What comes now is a further request."""
        self._expect(Part.NEXT)

    def expect_body(self) -> None:
        """The head is complete; what comes now is the body of the request, if somebody reads it."""
        self._clients.leave(self)
        self._expect(Part.BODY)

    def expect_rest(self) -> None:
        """The request has been answered; what comes now of its body is of no use."""
        self._expect(Part.REST)

    def expect_endless_body(self) -> None:
        """The body is sent for as long as the client works."""
        self._expect(Part.ENDLESS)

    def recv(self, size: int) -> bytes:
        """Some bytes; none where the client has closed the connection. Raises TooSlow, HeadTooLarge."""
        if self.part is Part.ENDLESS:
            return self._socket.recv(size)
        data = self._receive(min(size, MAX_PIECE))
        if not self._received and self.part is Part.NEXT and data:
            self._expect(Part.HEAD)
        self._received += len(data)
        if self.part is Part.HEAD and self._received > MAX_HEAD:
            raise HeadTooLarge
        return data

    def close(self) -> None:
        """The connection is closed; to be called once."""
        self._clients.leave(self)
        self._clients.open -= 1

    def hang_up(self) -> None:
        """Have whoever waits for this client find that it has gone."""
        self._dropped = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _expect(self, part: Part) -> None:
        self.part = part
        self._received = 0
        self._waited = 0.0
        self.since = time.monotonic()

    def _receive(self, size: int) -> bytes:
        data = None
        began = time.monotonic()
        self._clients.enter(self)
        try:
            # Only the waits count: what the process itself needs is no fault of the client.
            if (left := self._allowed() - self._waited) > 0:
                with Timeout(left, False):  # type: ignore[arg-type]
                    data = self._socket.recv(size)
        except OSError:
            if not self._dropped:
                raise
            data = b""  # the client is gone, whoever had it go
        finally:
            if self.part in (Part.BODY, Part.REST):  # else until the whole head is there
                self._clients.leave(self)
            self._waited += time.monotonic() - began
        if data is None:
            raise TooSlow(f"{self.part.value} did not arrive in time")
        return data

    def _allowed(self) -> float:
        """Seconds that may be waited for this part."""
        if self.part is Part.NEXT:
            return self._clients.bounds.idle
        if self.part is Part.HEAD:
            return self._clients.bounds.patience
        least = REST_TIME if self.part is Part.REST else self._clients.bounds.patience
        return least + self._received / MIN_RATE
