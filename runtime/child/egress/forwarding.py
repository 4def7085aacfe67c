"""Forwarding: one request after another is passed on to where it goes, and its answer back.

Both sides are read by h11, so that gateway, worker and host agree on where a request
ends; nothing can be smuggled behind one. Answers are passed on as they come, piece by
piece, for models stream theirs.
"""

from __future__ import annotations

import socket
from typing import Any

import h11

from runtime.child.egress.routes import Route

_CHUNK = 64 * 1024
_MAX_HEAD = 64 * 1024
"""Bytes of a request line with its headers."""
_HOP_BY_HOP = frozenset(
    {
        b"connection", b"expect", b"host", b"keep-alive", b"proxy-authenticate", b"proxy-authorization",
        b"proxy-connection", b"te", b"trailer", b"upgrade",
    }
)  # fmt: skip
"""Headers that are between two neighbours, and that the gateway says itself."""

Headers = list[tuple[bytes, bytes]]


class Peer:
    """One side of the gateway: HTTP/1.1 over a socket."""

    def __init__(self, connection: socket.socket, role: Any) -> None:
        """``role``: h11's SERVER towards a worker, CLIENT towards a host."""
        self.socket = connection
        self.http = h11.Connection(role, max_incomplete_event_size=_MAX_HEAD)

    def next(self) -> Any:
        """The next event; waits for it. Raises OSError and h11.RemoteProtocolError."""
        while True:
            event = self.http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self.http.our_role is h11.SERVER and self.http.they_are_waiting_for_100_continue:
                self.send(h11.InformationalResponse(status_code=100, headers=[]))
            self.http.receive_data(self.socket.recv(_CHUNK))

    def send(self, event: Any) -> None:
        """Raises OSError, and h11.LocalProtocolError for what may not be said now."""
        if data := self.http.send(event):
            self.socket.sendall(data)


def forward(request: h11.Request, worker: Peer, host: socket.socket, route: Route) -> None:
    """Pass on one request and its answer. Raises OSError and h11.ProtocolError."""
    upstream = Peer(host, h11.CLIENT)
    upstream.send(
        h11.Request(method=request.method, target=route.target, headers=_headers_to_host(request, route))
    )
    try:
        while not isinstance(event := worker.next(), h11.EndOfMessage):
            upstream.send(event)
        upstream.send(event)
    except BrokenPipeError:
        pass  # the host takes no more of it, and has answered why
    while not isinstance(event := upstream.next(), h11.EndOfMessage):
        if isinstance(event, h11.ConnectionClosed):
            raise h11.RemoteProtocolError("the host closed the connection")
        if isinstance(event, h11.Response):
            event = h11.Response(
                status_code=event.status_code,
                reason=event.reason,
                headers=_end_to_end(event.headers.raw_items()),
            )
        if not isinstance(event, h11.InformationalResponse):
            worker.send(event)
    worker.send(event)


def _headers_to_host(request: h11.Request, route: Route) -> Headers:
    replaced = {name.encode(): value.encode() for name, value in route.headers.items()}
    names = {name.lower() for name in replaced}
    kept = [(n, v) for n, v in _end_to_end(request.headers.raw_items()) if n.lower() not in names]
    ours = [(b"Host", route.netloc.encode()), (b"Connection", b"close"), *replaced.items()]
    return [*ours, *kept]


def _end_to_end(headers: Headers) -> Headers:
    """Headers without those of one connection."""
    named = {
        token.strip().lower()
        for name, value in headers
        if name.lower() == b"connection"
        for token in value.split(b",")
    }
    return [(n, v) for n, v in headers if n.lower() not in _HOP_BY_HOP and n.lower() not in named]
