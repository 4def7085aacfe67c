"""A socket that goes while what it has asked for is looked up, in this process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import gevent
import pytest
from flask import Flask
from gevent.event import Event

from runtime.model import User
from runtime.panel.service import AgentChats
from tests.support.web import Client
from web.core import Core
from web.panel import sockets
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
    manager.basic_enter_room(sid, "/", None, eio_sid)
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
