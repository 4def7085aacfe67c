"""Web processes of one machine, which hand each other the requests of Engine.IO's connections.

Each request of a client that polls is a connection of its own, and the kernel gives it to any of the
processes that listen on the port; only one of them has what the client is told. So an Engine.IO id
begins with the name of its process, and whoever gets a request with the id of another one hands it on
and hands the answer back: over a Unix socket in the data folder, which only its owner can enter.

The name in an id is what a client says. It is looked at only as the name of a file of that folder, and
the other process serves over this socket what it serves to anybody who knows the whole id. What names
no process that is alive is answered here, as an id that Engine.IO does not know: clients connect again.

A request is its WSGI variables and its body, and an answer its status, its headers and its body: two
pieces with their lengths before them. The connection of a WebSocket is handed on byte by byte.
"""

from __future__ import annotations

import io
import logging
import re
import secrets
import struct
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qs

import gevent
import orjson
from gevent import socket
from gevent.server import StreamServer

from runtime.system.private_files import private_folder
from web.http.gunicorn import socket_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

_NAME = re.compile(r"[0-9a-f]{16}")
_KEPT = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "CONTENT_TYPE", "CONTENT_LENGTH",
    "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "REMOTE_ADDR", "wsgi.url_scheme",
)  # fmt: skip
"""Variables of a request that are handed on, beside its headers."""
_SECRET = ("HTTP_COOKIE", "HTTP_AUTHORIZATION")
"""Headers that are not: a connection is authenticated once, by the process that has it."""
_LENGTHS = struct.Struct("!II")
_LONGEST_HEAD = 1 << 18
"""Bytes of the variables of a request: twice what gunicorn takes of its headers, as JSON."""
_ANY = 1 << 32
"""The bytes that a body has at most whose length is told."""
_PIECE = 1 << 16
_BACKLOG = 1024
_PRIVATE = 0o600
_REACHED_WITHIN = 5.0
"""Seconds for which another process is waited for to take a request."""
_STALE = 60.0
"""Seconds after which the socket of a process that does not answer is deleted."""


class Siblings:
    """The web processes of this machine, as one of them sees them."""

    def __init__(self, home: Path, app: WSGIApplication, *, largest: int, patience: float) -> None:
        """``app``: what serves the connections of this process. ``home``: the data folder.

        ``largest``: bytes of a request's body. ``patience``: seconds in which another process answers, and in
        which a client takes what it is sent.
        """
        self.name = secrets.token_hex(8)
        # One for each machine: several may have the same data folder, and none sees another's processes.
        self._folder = home / "web" / sha256(gethostname().encode()).hexdigest()[:8]
        self._app = app
        self._largest = largest
        self._patience = patience
        self._server: StreamServer | None = None
        self._handed_on: set[socket.socket] = set()
        """The connections to others by which requests are answered now."""
        self._is_closed = False

    def start(self) -> None:
        """Listen for requests that others hand on."""
        try:
            private_folder(self._folder.parent)
            private_folder(self._folder)
            self._delete_stale()
            self._server = StreamServer(self._listener(), self._serve)
            self._server.start()
        except OSError as error:  # as where the path is longer than one of a socket may be
            log.warning("other web processes cannot hand on requests of Socket.IO: %s", error)

    def close(self) -> None:
        """Take no requests from others any more, and end those that others answer.

        They would keep this process for as long as their clients are there. A client that polls is
        answered as if its connection had ended, which it makes anew: what it has just been sent is lost.
        """
        self._is_closed = True
        self._path(self.name).unlink(missing_ok=True)
        if self._server is not None:
            self._server.close()
        for connection in self._handed_on:
            _end(connection)

    def hand_on(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes] | None:
        """The answer of the process that has the connection of a request.

        None where that is this process, or one that is not there.
        """
        name = owner_of(environ)
        upgrades = _is_websocket(environ)
        if self._is_closed or name is None or name == self.name or (upgrades and socket_of(environ) is None):
            return None
        request = _pack(_variables(environ), self._body(environ))
        connection = self._reach(name, request)
        if connection is None:
            return None
        self._keep(connection)
        try:
            if upgrades:
                _join(socket_of(environ), connection, self._patience)
            answer, body = _unpack(connection, _ANY)
        except OSError:  # one of the two has ended meanwhile
            return None
        finally:
            self._handed_on.discard(connection)
            connection.close()
        start_response(answer["status"], [(name, value) for name, value in answer["headers"]])
        return [body]

    def _body(self, environ: WSGIEnvironment) -> bytes:
        """The body of a request; none of it where it is larger than it may be, which its length tells."""
        length = int(environ.get("CONTENT_LENGTH") or 0)
        return environ["wsgi.input"].read(length) if 0 < length <= self._largest else b""

    def _reach(self, name: str, request: bytes) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(_REACHED_WITHIN)
            connection.connect(str(self._path(name)))
            connection.sendall(request)
            connection.settimeout(self._patience)
        except OSError:
            connection.close()
            return None
        return connection

    def _keep(self, connection: socket.socket) -> None:
        """Have :meth:`close` end a connection; at once where it was called meanwhile."""
        self._handed_on.add(connection)
        if self._is_closed:
            _end(connection)

    def _path(self, name: str) -> Path:
        return self._folder / name

    def _listener(self) -> socket.socket:
        """It gets its name once it listens: before that it would seem to be stale."""
        made = self._path(f".{self.name}")
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(str(made))
            made.chmod(_PRIVATE)  # as every file of the data folder
            listener.listen(_BACKLOG)
            made.rename(self._path(self.name))
        except OSError:
            listener.close()
            raise
        return listener

    def _delete_stale(self) -> None:
        """Delete the sockets of processes that were killed."""
        for path in self._folder.iterdir():
            with suppress(OSError), closing(socket.socket(socket.AF_UNIX)) as connection:
                if _NAME.fullmatch(path.name) and time.time() - path.stat().st_mtime > _STALE:
                    connection.settimeout(_REACHED_WITHIN)
                    try:
                        connection.connect(str(path))
                    except ConnectionRefusedError:
                        path.unlink()

    def _serve(self, connection: socket.socket, _: Any) -> None:
        with closing(connection), suppress(OSError):
            connection.settimeout(_REACHED_WITHIN)
            variables, body = _unpack(connection, self._largest)
            connection.settimeout(None)
            environ = {**variables, **_SERVER, "wsgi.input": io.BytesIO(body), "gunicorn.socket": connection}
            if owner_of(environ) != self.name:
                return
            status, headers, content = _call(self._app, environ)
            if _is_websocket(environ):
                connection.sendall(_refusal(status, content))
            else:
                connection.sendall(_pack({"status": status, "headers": headers}, content))


def owner_of(environ: Mapping[str, Any]) -> str | None:
    """The name of the process that has the connection of a request; None where the request names none."""
    ids = parse_qs(environ.get("QUERY_STRING", "")).get("sid")
    name = ids[0].partition(".")[0] if ids else ""
    return name if _NAME.fullmatch(name) else None


def _is_websocket(environ: Mapping[str, Any]) -> bool:
    """Whether a request asks for a WebSocket; some clients offer another protocol with each request."""
    return str(environ.get("HTTP_UPGRADE", "")).lower() == "websocket"


_SERVER: Mapping[str, Any] = {
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}


def _variables(environ: WSGIEnvironment) -> dict[str, str]:
    kept = {name: environ[name] for name in _KEPT if isinstance(environ.get(name), str)}
    headers = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
    return kept | {name: value for name, value in headers.items() if name not in _SECRET}


def _call(app: WSGIApplication, environ: WSGIEnvironment) -> tuple[str, list[tuple[str, str]], bytes]:
    """The answer of ``app``. Raises OSError where a WebSocket was served, which has ended."""
    answer: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Callable[[bytes], object]:
        answer[:] = [status, headers]
        return lambda _: None

    try:
        content = b"".join(app(environ, start_response))
    except StopIteration:  # python-engineio's word to gunicorn
        raise ConnectionResetError from None
    status, headers = answer
    return status, headers, content


def _refusal(status: str, content: bytes) -> bytes:
    """The answer to a request for a WebSocket that is none, as it stands on the connection."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(content)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + content


def _join(client: socket.socket, sibling: socket.socket, patience: float) -> NoReturn:
    """Hand on what either sends to the other one until both have ended. Raises StopIteration then."""
    sibling.settimeout(None)
    there = gevent.spawn(_pump, client, sibling, patience)
    _pump(sibling, client, patience)
    there.join()
    raise StopIteration  # by this gunicorn knows that the connection was answered


def _pump(source: socket.socket, target: socket.socket, patience: float) -> None:
    """Hand on what ``source`` sends until one of them ends, and then the other one does."""
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            with gevent.Timeout(patience, TimeoutError()):
                target.sendall(piece)
    for connection in (source, target):
        _end(connection)


def _end(connection: socket.socket) -> None:
    """End what is received and sent by a connection, whoever waits for it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _pack(fields: Mapping[str, Any], body: bytes) -> bytes:
    head = orjson.dumps(fields)
    return _LENGTHS.pack(len(head), len(body)) + head + body


def _unpack(connection: socket.socket, largest: int) -> tuple[dict[str, Any], bytes]:
    """Raises OSError where it does not come whole, or its body has more than ``largest`` bytes."""
    head, body = _LENGTHS.unpack(_receive(connection, _LENGTHS.size))
    if head > _LONGEST_HEAD or body > largest:
        raise ConnectionAbortedError
    return orjson.loads(_receive(connection, head)), _receive(connection, body)


def _receive(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        piece = connection.recv(min(_PIECE, size - len(received)))
        if not piece:
            raise ConnectionResetError
        received += piece
    return bytes(received)
