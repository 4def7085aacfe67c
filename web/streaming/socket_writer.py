"""Writes a stream directly to its socket, without a switch to the stream's greenlet in gunicorn."""

from __future__ import annotations

import socket as plain
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gevent import socket

from runtime.stream import Batch
from runtime.stream.entries import Encoder
from web.http import gunicorn

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from web.ops.metrics import Metrics


_TCP_INFO = getattr(plain, "TCP_INFO", None)
_ESTABLISHED = 1


class SocketWriter:
    """Sends chunks of a response's body (:class:`runtime.stream.DirectWriter`).

    It opens where gunicorn answers over HTTP/1.1 in chunks and the socket is a plain
    one, and only if ``start_response`` comes from gunicorn itself: a middleware between
    them might change the body. Elsewhere it stays closed, and the response is sent by
    gunicorn.
    """

    __slots__ = ("_encode", "_metrics", "_response", "_rest", "_socket", "open")

    def __init__(self, metrics: Metrics, encode: Encoder) -> None:
        """``encode`` puts a record into the protocol of the stream."""
        self._metrics = metrics
        self._encode = encode
        self._socket: Any = None
        self._response: Any = None
        self._rest: memoryview | None = None
        self.open = False

    def connect(self, environ: WSGIEnvironment, start_response: StartResponse) -> None:
        """Keep the socket of the response, once that has begun."""
        self._socket = gunicorn.socket_of(environ)
        self._response = gunicorn.response_of(start_response)
        self.open = (
            type(self._socket) is socket.socket  # not TLS, which is a subclass
            and environ.get("SERVER_PROTOCOL") == "HTTP/1.1"
            and gunicorn.is_chunked(self._response)
        )

    def gone(self) -> bool:
        """Whether the reader has closed its end of the connection, or no longer answers.

        The first write after that still succeeds; only the next one would fail.
        """
        if self._socket is None or _TCP_INFO is None:
            return False
        try:
            state: bytes = self._socket.getsockopt(plain.IPPROTO_TCP, _TCP_INFO, 1)
        except OSError:
            return False
        return state[0] != _ESTABLISHED

    def close_after_response(self) -> None:
        """Have the connection closed after this response, so that the next request finds another process."""
        gunicorn.close_after(self._response)

    def offer(self, batch: Batch) -> bool:
        """Send ``batch`` as far as that goes without waiting; False where some of it remains."""
        self._metrics.delivered(batch)
        frame = _chunk(batch.encoded(self._encode))
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
    """One chunk of HTTP/1.1, made once for all readers of the same data."""
    return b"%X\r\n%b\r\n" % (len(data), data)
