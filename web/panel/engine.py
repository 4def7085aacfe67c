"""What Socket.IO and Engine.IO do not do by themselves: bounds, and the id of a connection.

Their internals are used here, and nowhere else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import engineio
import gevent
import socketio
from engineio.async_drivers.gevent import WebSocketWSGI
from engineio.exceptions import SocketIsClosedError
from engineio.packet import CLOSE
from engineio.payload import Payload
from gevent import socket
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from gevent.queue import Empty, JoinableQueue
from wsproto.frame_protocol import FrameProtocol

from runtime.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

LARGEST = 1 << 20
"""Bytes of one event of a client."""
CONNECTED_WITHIN = 5.0
"""Seconds after which a connection that has not shown who it is is closed."""
TAKEN_WITHIN = 60.0
"""Seconds after which a connection is ended that takes nothing of what it is sent."""
Closed = SocketIsClosedError
"""What sending to a connection raises that is closed, or for whose client too much waits."""
_CONNECT, _DISCONNECT, *_ = _PACKETS = ("0", "1", "2", "3")
"""Of Socket.IO: to connect, to disconnect, an event, and its acknowledgement; not those with attachments."""
_UNREADABLE = logging.getLogger(f"{__name__}.unreadable")
"""What a client sends that cannot be read is no error of ours, and would fill the log: nothing is logged."""
_UNREADABLE.setLevel(logging.CRITICAL + 1)
_MOST_IN_ANSWER = 16
"""Packets in one answer to a client that polls: python-engineio's client reads no more, and is gone."""
_MOST_WAITING = 1000
"""Packets that may wait for a client to take them: answers to what it sends, for rooms wait themselves."""
_MOST_TOGETHER = 100
"""Packets in one request of a client that polls, such as all that it has written offline."""


class Connection:
    """A connection that sends all of what it is given, and receives only what is asked for.

    simple-websocket calls ``send`` once for each frame and takes the frame for sent. Under gevent that
    sends what fits, so a slow reader would miss the rest of it and find no frame any more. And it
    receives in a greenlet of its own, into a list without a bound: from a client that sends faster
    than its events are handled, all that it sends.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._lock = BoundedSemaphore()  # the answer to a ping must not come into a frame
        self._senders = 0
        self._rest = memoryview(b"")
        self._is_plain = type(connection) is socket.socket  # not TLS, which is a subclass
        self.is_awaited = Event()
        """Whether somebody waits for a message, or the connection is not used any more."""

    def recv(self, size: int) -> bytes:
        """Receive, once somebody waits for a message. Raises OSError where the connection is closed."""
        gevent.sleep(0)  # who has waited for what came last goes on first, and does not wait any more
        while not self.is_awaited.is_set():
            self.is_awaited.wait()
        return bytes(self._connection.recv(size))

    def send(self, data: bytes) -> int:
        """Send all of ``data``. Raises TimeoutError, and ends the connection, where nobody takes it."""
        self._senders += 1
        try:
            with self._lock:
                self._send_rest()
                self._rest = memoryview(data)
                self._send_rest()
        finally:
            self._senders -= 1
        return len(data)

    @property
    def is_free(self) -> bool:
        """Whether nobody sends, nothing of a frame is left to be sent, and :meth:`offer` can be called."""
        return self._is_plain and not self._senders and not self._rest

    def offer(self, data: bytes) -> bool:
        """Send what is accepted at once of ``data``. False where :meth:`finish` has to send the rest."""
        try:
            sent = self._connection.send(data, 0, 0.0)  # flags, and no time to wait
        except OSError:  # the client is slow (gevent's time-out) or gone: ``finish`` waits, or raises
            sent = 0
        if sent == len(data):
            return True
        self._rest = memoryview(data)[sent:]
        return False

    def finish(self) -> None:
        """Send the rest, which others do that send before. Raises OSError where the client is gone."""
        if self._rest:
            self.send(b"")

    def _send_rest(self) -> None:
        while self._rest:
            self._rest = self._rest[self._send_some(self._rest) :]

    def _send_some(self, data: memoryview) -> int:
        try:
            with gevent.Timeout(TAKEN_WITHIN, TimeoutError()):
                return int(self._connection.send(data))
        except TimeoutError:
            with suppress(OSError):
                self._connection.shutdown(SHUT_RDWR)
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class WebSocket(WebSocketWSGI):  # type: ignore[misc]
    """One that reads no more of a message than it may have, and no further one before that is handled.

    Engine.IO looks at the size of a message once all of it is there.
    """

    def __init__(self, handler: Any, server: Any) -> None:
        super().__init__(handler, server)
        self.server_args["max_message_size"] = LARGEST
        self._served = handler.__self__

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        """Serve the connection until it is closed."""
        self._connection: Connection = environ["gunicorn.socket"]
        try:
            return super().__call__(environ, start_response)
        finally:
            self._connection.is_awaited.set()  # what receives finds that it is closed

    def wait(self) -> Any:
        """The next message; None where the connection is closed."""
        self._connection.is_awaited.set()
        if self._served.upgraded and getattr(self._served, "connection", None) is None:
            self._served.connection = (
                self._connection
            )  # the first that waits once an upgrade is done has done it
        try:
            return super().wait()
        finally:
            self._connection.is_awaited.clear()


def way_past_queue(served: Any) -> Connection | None:
    """The connection of a client, if what is sent by it now comes after all that the client was sent.

    None where something still waits for the client, or it polls. ``served``: Engine.IO's socket.
    """
    connection: Connection | None = getattr(served, "connection", None)
    if connection is None or not connection.is_free or served.queue.qsize():
        return None
    return connection if served.upgraded and not served.closing else None


def frame(name: str, data: Any) -> bytes:
    """An event as a frame of a WebSocket, which is the same for all clients."""
    event = socketio.packet.Packet(socketio.packet.EVENT, data=[name, data], namespace="/")
    packet = engineio.packet.Packet(engineio.packet.MESSAGE, event.encode()).encode()
    return bytes(_FRAMES.send_data(packet, fin=True))


_FRAMES = FrameProtocol(client=False, extensions=[])


class Packets(JoinableQueue[Any]):
    """What waits for a client. Whoever takes all that is there is given so much as a client reads at once.

    Engine.IO puts a None there once the connection is closed, for the one who waits; here all are told.
    """

    _taken = 0

    @property
    def is_long(self) -> bool:
        """Whether more waits than for a client that reads."""
        return self.qsize() > _MOST_WAITING

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add a packet. Raises SocketIsClosedError for a client that takes none, however many it has."""
        if self.qsize() > 2 * _MOST_WAITING and item is not None and item.packet_type != CLOSE:
            raise SocketIsClosedError
        super().put(item, block, timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """The next packet; without ``block``, one more of those for the same answer. Raises Empty."""
        if block:
            self._taken = 0
        elif self._taken >= _MOST_IN_ANSWER:
            raise Empty
        packet = super().get(block, timeout)
        self._taken += 1
        if packet is None and block:
            self.put(None)
        return packet


class Engine(engineio.Server):  # type: ignore[misc]
    """Engine.IO, whose ids name the process that has the connection."""

    process = ""

    def generate_id(self) -> str:
        """The name of this process, and what nobody guesses."""
        return f"{self.process}.{super().generate_id()}"

    def create_queue(self, *_: Any, **__: Any) -> Packets:
        """A queue of a connection."""
        return Packets()

    def disconnect(self, sid: str | None = None) -> None:
        """Close a connection that has sent what it may not. Engine.IO would wait for its client to poll."""
        connection = self.sockets.pop(sid, None)
        if connection is not None:
            connection.close(wait=False)


class Server(socketio.Server):  # type: ignore[misc]
    """One that closes connections itself, where Socket.IO asks its clients to do so."""

    def __init__(self, settings: Settings, is_allowed: Callable[[str, WSGIEnvironment], bool]) -> None:
        """``is_allowed``: whether pages of an origin may connect."""
        super().__init__(
            async_mode="gevent",
            transports=["polling", "websocket"],
            async_handlers=False,  # else two messages of one client could change places
            ping_timeout=settings.panel.socketio_ping_timeout,
            ping_interval=settings.panel.socketio_ping_interval,
            max_http_buffer_size=LARGEST,
            cors_allowed_origins=is_allowed,
            cors_credentials=False,
            engineio_logger=_UNREADABLE,
        )
        self.eio._async = {**self.eio._async, "websocket": WebSocket}
        self._most = settings.web.connections
        """Connections at once: one that polls holds none of the web process's."""
        Payload.max_decode_packets = _MOST_TOGETHER

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    def _handle_eio_connect(self, eio_sid: str, environ: WSGIEnvironment) -> Any:
        if len(self.eio.sockets) > self._most:
            return False
        gevent.spawn_later(CONNECTED_WITHIN, self._close_stranger, eio_sid)
        return super()._handle_eio_connect(eio_sid, environ)

    def _handle_eio_message(self, eio_sid: str, data: str | bytes) -> Any:
        """Events are text, in one namespace: attachments could be of any number and size."""
        is_event = isinstance(data, str) and data[:1] in _PACKETS and (data[1:2] != "/" or data[1:3] == "/,")
        if not is_event or (data[:1] == _CONNECT and self._is_connected(eio_sid)):
            return self.hang_up(eio_sid)
        answer = super()._handle_eio_message(eio_sid, data)
        if data[:1] == _DISCONNECT:  # nobody is counted any more as whose the connection is
            self.hang_up(eio_sid)
        return answer

    def _is_connected(self, eio_sid: str) -> bool:
        """Whether a connection has shown who it is."""
        return self.manager.sid_from_eio_sid(eio_sid, "/") is not None

    def _close_stranger(self, eio_sid: str) -> None:
        if not self._is_connected(eio_sid):
            self.hang_up(eio_sid)
            self.eio.sockets.pop(eio_sid, None)

    def hang_up(self, eio_sid: str) -> None:
        """Close a connection, whatever its client does; one that is closed stays so."""
        connection = self.eio.sockets.get(eio_sid)
        if connection is not None:
            connection.close(wait=False)


def is_readable(environ: WSGIEnvironment) -> bool:
    """Whether Engine.IO can read a request. It would answer that it has where it has not.

    A script (JSONP) is none: any page may include it, and read an id that a cookie has made.
    """
    if "j" in parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True):
        return False
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if environ["REQUEST_METHOD"] != "POST" or length > LARGEST:  # Engine.IO closes such a connection
        return True
    body = environ["wsgi.input"].read(length)
    environ["wsgi.input"] = BytesIO(body)
    try:
        Payload(encoded_payload=body.decode())
    except (ValueError, KeyError, IndexError, RecursionError):
        return False
    return True
