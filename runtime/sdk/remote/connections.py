"""Connections to the server, which are kept: over TLS, making one costs far more than a request.

Whoever asks has a connection alone until the whole answer is read; then it waits for the next request. A
server may close one that waits. Where that shows before the answer has begun, the request is made
again, by a new connection. So a request may arrive twice, and only such are made as count once: lines
and looks are numbered, steps and calls have a key, what asks for a run has an offer.
"""

from __future__ import annotations

import http.client
import selectors
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from ..proxies import proxy_of

BROKEN = (OSError, http.client.HTTPException)
"""What a request raises that is not answered, or not to its end; the last is no OSError."""
_CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""What it raises where the server has closed the connection."""
_KEPT = 15.0
"""Seconds that one waits: what is in between may forget it without a word."""
_MOST = 8
"""How many wait."""


class Connections:
    """Those to one server. Threads share it."""

    def __init__(self, url: str) -> None:
        """``url``: of the server, with its BASE_PATH.

        Raises ValueError where it is none of HTTP, or where the proxy on the way cannot be used.
        """
        self.url = url.rstrip("/")
        self._server = urlsplit(self.url)
        if self._server.scheme not in ("http", "https") or not self._server.hostname:
            raise ValueError(f"{url!r} is no URL of a server, which begins with https:// or http://")
        self._host, self._port = self._server.hostname, self._server.port
        self._proxy = _proxy_of(self._server)
        self._tls: ssl.SSLContext | None = None
        self._idle: list[_Idle] = []
        """Those that wait; the last one was used last."""
        self._lock = threading.Lock()

    @contextmanager
    def ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout: float
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer, with any status, while the ``with`` lasts.

        ``path``: below the URL; ``timeout``: seconds in which something has to come. Raises what
        BROKEN has, and so does reading the answer.
        """
        connection, response = self._answer(_Request(method, path, body, headers, timeout))
        is_whole = False
        try:
            yield response
            is_whole = response.isclosed() and connection.sock is not None  # else the server closes it
        except BROKEN:
            self.close()
            raise
        finally:
            if is_whole:
                self._keep(connection)
            else:
                response.close()
                connection.close()

    def _answer(self, request: _Request) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        kept = self._kept()
        if kept is not None:
            try:
                return kept, self._send(kept, request)
            except _CLOSED:
                pass
        made = self._make()
        return made, self._send(made, request)

    def _send(self, connection: http.client.HTTPConnection, request: _Request) -> http.client.HTTPResponse:
        """Send the request, and read until the answer's body."""
        connection.timeout = request.timeout
        if connection.sock is not None:
            connection.sock.settimeout(request.timeout)
        target, headers = self._server.path + request.path, dict(request.headers)
        if self._proxy is not None and self._server.scheme == "http":
            target, headers = self.url + request.path, {**headers, **self._proxy.headers}
        try:
            connection.request(request.method, target, request.body, headers)
            return connection.getresponse()
        except BaseException:
            connection.close()
            self.close()
            raise

    # ── those that wait ─────────────────────────────────────────────────────

    def _kept(self) -> http.client.HTTPConnection | None:
        """One that is open still, as far as can be seen from here."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection, since = self._idle.pop()
            if time.monotonic() - since < _KEPT and _is_silent(connection.sock):
                return connection
            connection.close()

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            self._idle.append(_Idle(connection, time.monotonic()))
            spare = self._idle.pop(0) if len(self._idle) > _MOST else None
        if spare is not None:
            spare.connection.close()

    def close(self) -> None:
        """Close those that wait. What has broken one may have broken all, and each would cost its time."""
        with self._lock:
            idle, self._idle = self._idle, []
        for one in idle:
            one.connection.close()

    # ── a new one ───────────────────────────────────────────────────────────

    def _make(self) -> http.client.HTTPConnection:
        host, port, proxy = self._host, self._port, self._proxy
        if self._server.scheme == "http":
            if proxy is None:
                return http.client.HTTPConnection(host, port)
            if proxy.is_secure:
                return http.client.HTTPSConnection(proxy.host, proxy.port, context=self._context())
            return http.client.HTTPConnection(proxy.host, proxy.port)
        if proxy is None:
            return http.client.HTTPSConnection(host, port, context=self._context())
        made = http.client.HTTPSConnection(proxy.host, proxy.port, context=self._context())
        made.set_tunnel(host, port or http.client.HTTPS_PORT, proxy.headers)
        return made

    def _context(self) -> ssl.SSLContext:
        """What certificates are checked by. To read the authorities takes tens of milliseconds: once."""
        with self._lock:
            if self._tls is None:
                self._tls = ssl.create_default_context()
                self._tls.set_alpn_protocols(["http/1.1"])
            return self._tls


class _Request(NamedTuple):
    method: str
    path: str
    body: bytes | None
    headers: Mapping[str, str]
    timeout: float


class _Idle(NamedTuple):
    connection: http.client.HTTPConnection
    since: float


class _Proxy(NamedTuple):
    host: str
    port: int
    is_secure: bool
    headers: dict[str, str]
    """By which it knows us."""


def _proxy_of(server: SplitResult) -> _Proxy | None:
    proxy = proxy_of(server)
    if proxy is None or not proxy.hostname:
        return None
    headers = {}
    if proxy.username is not None:
        user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {b64encode(user.encode()).decode()}"
    is_secure = proxy.scheme == "https"
    return _Proxy(proxy.hostname, proxy.port or (443 if is_secure else 80), is_secure, headers)


def _is_silent(sock: socket.socket | None) -> bool:
    """Whether nothing has come by a connection that nobody reads. What comes there is its end."""
    if sock is None:
        return False
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return not selector.select(0)
