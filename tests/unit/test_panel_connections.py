"""What a socket of the panel receives, and for how long it is followed: by itself, without a web process."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import gevent
import gevent.socket
from wsproto import ConnectionType, WSConnection
from wsproto.events import Request, TextMessage

from web.panel.engine import Connection, WebSocket
from web.panel.rooms import Room

MESSAGES, SIZE, RECEIVED = 500, 1000, 4096
ENVIRON = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/",
    "QUERY_STRING": "",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "localhost",
    "HTTP_UPGRADE": "websocket",
    "HTTP_CONNECTION": "Upgrade",
    "HTTP_SEC_WEBSOCKET_VERSION": "13",
}


def test_what_a_client_sends_is_received_as_it_is_handled() -> None:
    ours, theirs = gevent.socket.socketpair()
    client = WSConnection(ConnectionType.CLIENT)
    asked = client.send(Request(host="localhost", target="/")).decode()
    key = next(line.partition(": ")[2] for line in asked.splitlines() if line.startswith("Sec-WebSocket-Key"))
    environ = {**ENVIRON, "HTTP_SEC_WEBSOCKET_KEY": key, "gunicorn.socket": Connection(ours)}
    waiting, taken = [], []

    def handle(connection: Any) -> None:
        while (message := connection.wait()) is not None:
            taken.append(message)
            for _ in range(5):
                gevent.sleep(0)  # what has come meanwhile would be received now
            waiting.append(len(connection.ws.input_buffer))

    with theirs:
        sending = gevent.spawn(send, theirs, client)
        with suppress(StopIteration):  # so the server learns that the connection is not HTTP any more
            WebSocket(handle, None)(environ, lambda *_: None)
        sending.get(timeout=10)

    assert taken == [text(number) for number in range(MESSAGES)]
    assert max(waiting) <= 2 * RECEIVED // SIZE


def send(connection: Any, client: WSConnection) -> None:
    client.receive_data(connection.recv(4096))
    list(client.events())
    for number in range(MESSAGES):
        connection.sendall(client.send(TextMessage(data=text(number))))
    connection.shutdown(gevent.socket.SHUT_WR)


def text(number: int) -> str:
    return str(number).ljust(SIZE)


def test_a_room_ends_once_its_socket_has_gone_though_nothing_happens_in_its_chat() -> None:
    socket: Any = SimpleNamespace(is_open=iter([True, False]).__next__, may_read=lambda: True)
    core: Any = SimpleNamespace(
        log=SimpleNamespace(open_messages=lambda _: []), hub=SimpleNamespace(follow=lambda *_: Quiet())
    )
    chat: Any = SimpleNamespace(thread_id="t", session_id="s")

    Room(core, cast(Any, None), chat, socket).follow("1:1")


class Quiet:
    """A log to which nothing is appended."""

    reset = None

    def __iter__(self) -> Iterator[None]:
        return itertools.repeat(None)

    def close(self) -> None:
        """Nothing is kept."""
