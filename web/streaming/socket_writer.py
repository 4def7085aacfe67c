"""Writes a stream directly to its client's socket, which saves a switch of greenlets per batch and reader."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gevent import socket

from runtime.stream import Batch
from runtime.stream.entries import Encoder
from web.http import gunicorn
from web.http.disconnects import disconnected

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from web.ops.metrics import Metrics


class SocketWriter:
    """Sends chunks of a response's body (:class:`runtime.stream.DirectWriter`).

    It is ``open`` only if gunicorn answers over HTTP/1.1 in chunks, without TLS, and if
    ``start_response`` is gunicorn's own: a middleware in between might change the body.
    Otherwise gunicorn sends the response.
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
        """Take the socket of the response once its head is written, and decide whether it can be used."""
        self._socket = gunicorn.socket_of(environ)
        self._response = gunicorn.response_of(start_response)
        self.open = (
            type(self._socket) is socket.socket  # not TLS, which is a subclass
            and environ.get("SERVER_PROTOCOL") == "HTTP/1.1"
            and gunicorn.is_chunked(self._response)
        )

    def gone(self) -> bool:
        """Whether the reader has closed its end of the connection, or no longer answers."""
        return disconnected(self._socket)

    def close_after_response(self) -> None:
        """Have the connection closed after this response, so that the next request finds another process."""
        gunicorn.close_after(self._response)

    def offer(self, batch: Batch) -> bool:
        """Send what the socket accepts at once. False if :meth:`finish` has to send the rest.

        ``batch`` must not be empty, for an empty chunk ends the response; nor may a rest remain.
        """
        self._metrics.delivered(batch)
        frame = _chunk(batch.encoded(self._encode))
        try:
            sent = self._socket.send(frame, 0, 0.0)  # flags, and no time to wait
        except OSError:  # the reader is slow (gevent's time-out) or gone: ``finish`` waits, or raises
            sent = 0
        if sent == len(frame):
            return True
        self._rest = memoryview(frame)[sent:]
        return False

    def finish(self) -> None:
        """Send the rest, and wait for the reader. Raises OSError if it is gone."""
        if self._rest is not None:
            self._socket.sendall(self._rest)
            self._rest = None


@lru_cache(maxsize=1)
def _chunk(data: bytes) -> bytes:
    """One chunk of HTTP/1.1, made once for all readers of the same data."""
    return b"%X\r\n%b\r\n" % (len(data), data)
