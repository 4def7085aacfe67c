"""A socket that goes while it is served, or that rooms send more than it takes, in this process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import gevent
import pytest
from engineio.exceptions import SocketIsClosedError
from engineio.packet import NOOP, Packet
from flask import Flask
from gevent.event import Event

from runtime.model import User
from runtime.panel.service import AgentChats
from tests.support.web import Client
from web.core import Core
from web.panel import engine, sockets
from web.panel.sockets import Sockets
from web.security.credentials import Credential

PATH = "/api/agent-chat/sessions"


@pytest.fixture
def served(app: Flask, core: Core) -> Sockets:
    return Sockets(app, core)


def connect(served: Sockets, client: Client) -> str:
    """Have a client be connected, as Socket.IO says it."""
    token = client.post("/api/tokens").json["token"]["secret"]
    sid, eio_sid = uuid4().hex, uuid4().hex
    manager, eio = served._server.manager, served._server.eio
    eio.sockets[eio_sid] = SimpleNamespace(closed=False, send=lambda _: None, close=lambda **_: None)
    for room in (None, sid):
        manager.basic_enter_room(sid, "/", room, eio_sid)
    served._connect(sid, {"REQUEST_METHOD": "GET", "wsgi.url_scheme": "http"}, {"token": token})
    return sid


def test_a_room_that_is_begun_for_a_socket_that_has_just_gone_ends(
    served: Sockets, ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = ada.post(PATH, json={"agent_type": "rag"}).json["session_id"]
    sid = connect(served, ada)
    socket, get = served._sockets[sid], AgentChats.get

    def get_late(*args: Any) -> Any:
        chat = get(*args)
        served._disconnect(sid)
        return chat

    monkeypatch.setattr(AgentChats, "get", get_late)
    monkeypatch.setattr(sockets.Room, "follow", lambda *_: Event().wait())
    served._join(socket, session_id, None)

    assert gevent.wait([*socket.rooms.values()], timeout=5) == [*socket.rooms.values()]


def test_a_socket_that_goes_while_its_token_is_looked_up_keeps_no_place(
    served: Sockets, ada: Client, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = core.credentials.resolve

    def resolve_late(credential: Credential) -> User | None:
        for connection in served._server.eio.sockets.values():
            connection.closed = True
        return resolve(credential)

    monkeypatch.setattr(core.credentials, "resolve", resolve_late)

    sid = connect(served, ada)

    assert sid not in served._sockets


def connection_of(served: Sockets, sid: str) -> Any:
    manager = served._server.manager
    return served._server.eio.sockets[manager.eio_sid_from_sid(sid, "/")]


def test_rooms_that_wait_for_the_same_moment_send_in_turn(served: Sockets, ada: Client) -> None:
    sid = connect(served, ada)
    connection, packets = connection_of(served, sid), engine.Packets()
    connection.queue, connection.send = packets, packets.put
    packets.put(Packet(NOOP))
    told = [("typing", {"is_typing": True})] * 1500
    rooms = [gevent.spawn(served._sockets[sid].send, told) for _ in range(2)]
    gevent.sleep(0)  # both wait

    for _ in range(1 + 2 * len(told)):
        packets.get(timeout=5)
        packets.task_done()

    assert [room.get(timeout=5) for room in rooms] == [True, True]


def test_a_socket_that_is_sent_more_than_may_wait_is_closed(served: Sockets, ada: Client) -> None:
    sid = connect(served, ada)
    connection, packets, closed = connection_of(served, sid), engine.Packets(), Event()
    connection.queue, connection.send = packets, packets.put
    connection.close = lambda **_: closed.set()

    assert served._sockets[sid].send([("typing", {})] * 3000) is False
    assert closed.is_set()


def test_a_join_that_cannot_be_confirmed_takes_no_place(
    served: Sockets, ada: Client, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = ada.post(PATH, json={"agent_type": "rag"}).json["session_id"]
    socket = served._sockets[connect(served, ada)]
    taken = core.open_streams._open.copy()

    def refuse(_: Any) -> None:
        raise SocketIsClosedError

    connection_of(served, socket.sid).send = refuse
    with pytest.raises(SocketIsClosedError):
        served._join(socket, session_id, None)

    assert core.open_streams._open == taken
