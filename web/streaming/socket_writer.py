"""The short way to a stream's reader: into the socket, past gunicorn and the stream's greenlet."""

from __future__ import annotations

import socket as plain
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gevent import socket

from web.http import gunicorn

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from web.ops.metrics import Metrics


_TCP_INFO = getattr(plain, "TCP_INFO", None)
_ESTABLISHED = 1


class Outlet:
    """Sends pieces of an answer's body (:class:`runtime.stream.Outlet`).

    It opens where gunicorn answers over HTTP/1.1 in chunks and the socket is a plain
    one, and has to be handed the answer's ``start_response`` by gunicorn itself: who
    stands between them may change the body. Elsewhere it stays closed, and everything
    goes through gunicorn.
    """

    __slots__ = ("_answer", "_metrics", "_rest", "_socket", "open")

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._socket: Any = None
        self._answer: Any = None
        self._rest: memoryview | None = None
        self.open = False

    def connect(self, environ: WSGIEnvironment, start_response: StartResponse) -> None:
        """Learn where the answer goes to, once it has begun."""
        self._socket = gunicorn.socket_of(environ)
        self._answer = gunicorn.response_of(start_response)
        self.open = (
            type(self._socket) is socket.socket  # not TLS, which is a subclass
            and environ.get("SERVER_PROTOCOL") == "HTTP/1.1"
            and gunicorn.is_chunked(self._answer)
        )

    def gone(self) -> bool:
        """Whether the reader has closed its end of the connection, or no longer answers.

        A first write to somebody who has closed it succeeds; only the next one would fail.
        """
        if self._socket is None or _TCP_INFO is None:
            return False
        try:
            state: bytes = self._socket.getsockopt(plain.IPPROTO_TCP, _TCP_INFO, 1)
        except OSError:
            return False
        return state[0] != _ESTABLISHED

    def send_elsewhere(self) -> None:
        """Have the connection closed after this answer, so that the next request finds another process."""
        gunicorn.close_after(self._answer)

    def offer(self, data: bytes) -> bool:
        """Send ``data`` as far as that goes without waiting; False where some of it remains."""
        self._metrics.delivered(data)
        frame = _chunk(data)
        try:
            sent = self._socket.send(frame, 0, 0.0)
        except OSError:  # the reader is slow, or gone: ``finish`` waits for it, or fails
            sent = 0
        if sent == len(frame):
            return True
        self._rest = memoryview(frame)[sent:]
        return False

    def finish(self) -> None:
        """Send what remains. Raises OSError where the reader is gone."""
        if self._rest is not None:
            self._socket.sendall(self._rest)
            self._rest = None


@lru_cache(maxsize=1)
def _chunk(data: bytes) -> bytes:
    """A chunk of a body; put together once for all readers of the same."""
    return b"%X\r\n%b\r\n" % (len(data), data)
