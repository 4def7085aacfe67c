"""Agent chats over Socket.IO: the events of the panel's clients, and who may send them.

Each process feeds its own sockets from the event logs, so no process tells another anything; only
requests of clients that poll are handed on to the process that has their socket
(:mod:`web.panel.siblings`).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import gevent
import marshmallow as ma
import socketio
from flask import Flask
from gevent.lock import BoundedSemaphore
from werkzeug.exceptions import BadRequest, HTTPException

from runtime.duties import every
from runtime.errors import Forbidden, RequestError, TooMany, Unauthenticated, Unavailable
from runtime.model import Json
from runtime.panel.model import Caller
from runtime.panel.service import AgentChats, Sent
from runtime.tokens import ThreadGrant
from web.core import Core
from web.http.errors import describe
from web.http.gunicorn import socket_of
from web.http.parsing import load_document
from web.panel import engine, schemas
from web.panel.frames import Frames, FrameWriter
from web.panel.rooms import Room
from web.panel.siblings import Siblings
from web.panel.translation import Told
from web.security import auth
from web.security.credentials import Credential

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)

ROOMS = 16
"""Chats that one socket may be in."""
_BURST, _PER_SECOND = 30, 10
"""Events of one socket at once, and in the long run."""
_LONGEST_ID = 36
"""Characters of a UUID."""
_LOOK_AGAIN = 1.0
"""Seconds after which it is asked whether a socket that takes nothing is still open."""
_MARGIN = 5.0
"""Seconds by which an answer to a client that polls may be late."""


class _ChatSocket:
    """One connected client."""

    def __init__(self, server: Any, sid: str, core: Core, caller: Caller, credential: Credential) -> None:
        self._server = server
        self._core = core
        self.sid = sid
        self.caller = caller
        self.credential = credential
        self.leave = core.open_streams.enter(caller.name)
        self.rooms: dict[str, gevent.Greenlet[..., None]] = {}
        self._turn = BoundedSemaphore()  # rooms that wait for the same moment would send all at once
        self._allowance, self._at = float(_BURST), time.monotonic()

    def send(self, told: Iterable[Told]) -> bool:
        """Send, once what was sent before is taken. False where the socket is closed."""
        with self._turn:
            if not self._is_drained():
                return False
            try:
                for name, data in told:
                    self._server.emit(name, data, to=self.sid)
            except engine.Closed:  # also where too much waits: its client joins again with its last id
                self.close()
                return False
        return True

    def writer(self, frames: Frames) -> FrameWriter:
        """What sends to it without a switch to the room's greenlet."""
        return FrameWriter(self._core.metrics, frames, self._connection)

    def is_open(self) -> bool:
        """Whether it is still there."""
        connection = self._connection()
        return connection is not None and not connection.closed

    @property
    def open_rooms(self) -> list[str]:
        """The sessions of the chats that it is in, without those that have ended."""
        return [session_id for session_id, room in self.rooms.items() if not room.dead]

    def may_read(self) -> bool:
        """Whether its credential still counts."""
        return self._core.credentials.resolve(self.credential) is not None

    def close(self) -> None:
        """Close it."""
        self._server.hang_up(self._server.manager.eio_sid_from_sid(self.sid, "/"))

    def count_event(self) -> None:
        """Raises TooMany where it sends more than it may, Unauthenticated where its credential ended."""
        now = time.monotonic()
        self._allowance = min(_BURST, self._allowance + (now - self._at) * _PER_SECOND)
        self._at = now
        if self._allowance < 1:
            raise TooMany("Too many events; send fewer at a time.")
        self._allowance -= 1
        if not self.may_read():
            raise Unauthenticated

    def is_behind(self) -> bool:
        """Whether it has more to take than one that reads ever has."""
        connection = self._connection()
        return connection is not None and connection.queue.is_long

    def _connection(self) -> Any:
        name = self._server.manager.eio_sid_from_sid(self.sid, "/")
        return self._server.eio.sockets.get(name)

    def _is_drained(self) -> bool:
        connection = self._connection()
        while connection is not None and not connection.closed:
            if connection.queue.join(timeout=_LOOK_AGAIN):
                return True
        return False


class Sockets:
    """Serves Socket.IO."""

    def __init__(self, app: Flask, core: Core) -> None:
        self._flask = app
        self._core = core
        self._origins = frozenset(core.settings.panel_origins)
        self._sockets: dict[str, _ChatSocket] = {}
        self._frames: WeakValueDictionary[str, Frames] = WeakValueDictionary()
        """Of each chat that a socket is in."""
        core.at_stop.append(self._end)
        panel = core.settings.panel
        self._server = engine.Server(core.settings, self._is_allowed)
        patience = panel.socketio_ping_interval + panel.socketio_ping_timeout + _MARGIN
        self._siblings = Siblings(core.settings.home, self._serve, largest=engine.LARGEST, patience=patience)
        self._server.eio.process = self._siblings.name
        self._server.on("connect", self._connect)
        self._server.on("disconnect", self._disconnect)
        for name, schema, handle in (
            ("join_chat", schemas.JoinChat(), self._join),
            ("leave_chat", schemas.OfChat(), self._leave),
            ("chat_message", schemas.SocketMessage(), self._send),
            ("stop", schemas.OfChat(), self._stop),
            ("answer", schemas.SocketAnswer(), self._answer),
        ):
            self._server.on(name, partial(self._handle, schema, handle))

    def start(self) -> None:
        """Take what other web processes of this machine hand on."""
        self._siblings.start()
        self._core.at_stop.append(self._siblings.close)
        heartbeat = self._core.settings.stream.heartbeat
        close_ended = every(heartbeat, self._close_ended)
        self._core.duties.start("close sockets whose credential has ended", close_ended, essential=False)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, as WSGI has it, or have the process answer that has the socket."""
        answer = self._siblings.hand_on(environ, start_response)
        return self._serve(environ, start_response) if answer is None else answer

    def _serve(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not engine.is_readable(environ):
            start_response("400 Bad Request", [("Content-Type", "text/plain")])
            return [b"This request cannot be read."]
        environ["gunicorn.socket"] = engine.Connection(socket_of(environ))
        # Compression would take a third of a megabyte for each socket, and frames that differ.
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        answer: Iterable[bytes] = self._server.handle_request(environ, start_response)
        return answer

    def _is_allowed(self, origin: str, environ: WSGIEnvironment) -> bool:
        """Whether pages of an origin may connect; ``socket_credential`` bounds cookies to our own."""
        with self._flask.request_context(environ):
            return origin in self._origins or auth.is_own_origin(origin)

    def _connect(self, sid: str, environ: WSGIEnvironment, given: Any = None) -> None:
        token = given.get("token") if isinstance(given, dict) else None
        try:
            with self._flask.request_context(environ):
                credential = auth.socket_credential(token if isinstance(token, str) else None)
            user = self._core.credentials.resolve(credential) if credential else None
            if credential is None or user is None:
                raise Unauthenticated
            if isinstance(credential.grant, ThreadGrant):
                raise Forbidden("This token is for one thread, and does not reach this.")
            caller = Caller.of(user, credential.grant)
            self._sockets[sid] = _ChatSocket(self._server, sid, self._core, caller, credential)
            if not self._sockets[sid].is_open():  # it has gone while its credential was looked up
                self._disconnect(sid)
        except (RequestError, Unavailable) as error:
            raise socketio.exceptions.ConnectionRefusedError(str(error)) from error

    def _disconnect(self, sid: str, *_: Any) -> None:
        socket = self._sockets.pop(sid, None)
        if socket is not None:
            socket.leave()
            gevent.killall(list(socket.rooms.values()), block=False)

    def _end(self) -> None:
        """Close all sockets, so that their clients connect again, to another process."""
        for socket in list(self._sockets.values()):
            socket.close()

    def _close_ended(self) -> None:
        """Close the sockets in no room whose credential has ended. A room looks for itself."""
        for socket in [one for one in self._sockets.values() if not one.open_rooms]:
            if not socket.may_read():
                socket.close()

    def _handle(
        self,
        schema: ma.Schema,
        handle: Callable[..., dict[str, Json] | None],
        sid: str,
        data: Any = None,
    ) -> dict[str, Json]:
        """Do what an event asks for; what is returned acknowledges it."""
        socket = self._sockets.get(sid)
        if socket is None:
            return {"error": str(Unauthenticated()), "code": "unauthenticated"}
        if socket.is_behind():
            socket.close()
            return {}
        try:
            socket.count_event()
            return handle(socket, **_loaded(schema, data)) or {}
        except (RequestError, Unavailable, HTTPException) as error:
            return self._refuse(socket, error, data)
        except Exception as error:
            log.exception("an event of a socket failed")
            return self._refuse(socket, error, data)

    def _refuse(self, socket: _ChatSocket, error: Exception, data: Any) -> dict[str, Json]:
        described = describe(error)
        code = described.code.replace("-", "_")
        told = {"type": "error", "error": described.detail, "code": code}
        session_id = data.get("session_id") if isinstance(data, dict) else None
        if isinstance(session_id, str) and len(session_id) <= _LONGEST_ID:
            told["session_id"] = session_id
        self._server.emit("error", told, to=socket.sid)
        return {"error": described.detail, "code": code}

    @property
    def _chats(self) -> AgentChats:
        core = self._core
        return AgentChats(core.dispatcher, core.database, core.log, core.settings)

    def _join(self, socket: _ChatSocket, session_id: str, after: str | None) -> None:
        chats = self._chats
        chat = chats.get(socket.caller, session_id)
        if session_id not in socket.rooms and len(socket.open_rooms) >= ROOMS:
            raise TooMany(f"A socket may be in {ROOMS} chats at once; leave one of them.")
        leave = self._core.open_streams.enter(socket.caller.name)
        try:
            self._leave(socket, session_id)
            self._server.emit("connection_confirmed", {"session_id": session_id}, to=socket.sid)
            frames = self._frames.setdefault(session_id, Frames())
            room = gevent.spawn(Room(self._core, chats, chat, socket, frames).follow, after)
        except BaseException:
            leave()
            raise
        room.link(lambda _: leave())
        socket.rooms[session_id] = room
        if self._sockets.get(socket.sid) is not socket:  # it has gone while the chat was looked up
            room.kill(block=False)

    def _leave(self, socket: _ChatSocket, session_id: str) -> None:
        room = socket.rooms.pop(session_id, None)
        if room is not None:
            room.kill()

    def _send(
        self,
        socket: _ChatSocket,
        session_id: str,
        message: str,
        context: Any,
        client_id: str | None,
        files: list[str],
    ) -> dict[str, Json]:
        sent = Sent(message, context, client_id, tuple(files))
        run_id = self._chats.send(socket.caller, session_id, sent)
        return {"status": "sent", "run_id": run_id}

    def _stop(self, socket: _ChatSocket, session_id: str) -> None:
        self._chats.stop(socket.caller, session_id)

    def _answer(self, socket: _ChatSocket, session_id: str, confirmation_id: str | None, answer: Any) -> None:
        self._chats.answer(socket.caller, session_id, confirmation_id, answer)


def _loaded(schema: ma.Schema, data: Any) -> dict[str, Any]:
    """What an event says, which obeys the same rules as a body. Raises Invalid, BadRequest."""
    try:
        raw = json.dumps(data if data is not None else {}).encode()
    except RecursionError as error:
        raise BadRequest("The event nests too deeply.") from error
    loaded: dict[str, Any] = load_document(schema, raw, "event")
    return loaded
