"""The gateway: accepts what strict workers connect to, and lets out what their worker.toml allows."""

from __future__ import annotations

import errno
import logging
import resource
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

import h11

from runtime.child.egress import dialer, forwarding, owners, tunnel
from runtime.child.egress.forwarding import Peer
from runtime.child.egress.routes import Access, Malformed, Refused, Route, Routes

log = logging.getLogger(__name__)

_MOST_SOCKETS = 64
"""That may be open for one run at once, towards it and towards hosts."""
_IN_ALL = threading.BoundedSemaphore(max(32, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 8))
"""Connections of all runs of this process: with two sockets each they are to leave it room for its own."""
_MOST_DIALLING = 2
"""How many hosts are looked up or connected to for one run at once."""
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED)
_FULL_PAUSE = 0.1
"""Seconds until it is tried again to accept a connection for which there was no room."""
_HEAD_TIMEOUT = 30.0
"""Seconds that a worker may take for a request's head, and be idle between two requests."""
_IDLE_TIMEOUT = 3600.0
"""Seconds without a byte after which a connection is given up: a model may think for long."""


class Client(Protocol):
    """Who connects: a run, or the host while it imports the worker."""

    def report(self, access: Access) -> None:
        """Note that it connected somewhere, or was refused."""


class _Connections:
    """What is open for one client."""

    def __init__(self) -> None:
        self.sockets: set[socket.socket] = set()
        self.dialling = threading.BoundedSemaphore(_MOST_DIALLING)


class Gateway:
    """The way out of one host's network."""

    def __init__(
        self,
        listener: socket.socket,
        host: int,
        routes: Routes,
        clients: Callable[[], Iterable[tuple[int, Client]]],
    ) -> None:
        """Starts to accept.

        ``host`` is the pid of a process in that network, and ``clients`` are all who may
        connect, each with the pid of its first process.
        """
        self._listener = listener
        self._host = host
        self._routes = routes
        self._clients = clients
        self._context = ssl.create_default_context()
        self._open: dict[Client, _Connections] = {}
        threading.Thread(target=self._accept, name="branchline-egress", daemon=True).start()

    def close(self) -> None:
        """Accept no more, and close what is open."""
        _end(self._listener)
        for client in list(self._open):
            self.forget(client)

    def forget(self, client: Client) -> None:
        """Close the connections of a client that has ended."""
        held = self._open.pop(client, None)
        for connection in list(held.sockets) if held is not None else ():
            _end(connection)

    def _accept(self) -> None:
        with self._listener:
            while True:
                try:
                    connection, address = self._listener.accept()
                except OSError as error:
                    if error.errno not in _FULL:
                        return  # it is closed
                    time.sleep(_FULL_PAUSE)
                    continue
                self._start_to_serve(connection, address[1])

    def _start_to_serve(self, connection: socket.socket, port: int) -> None:
        """Serve it in a thread. Whatever comes of that, the next connection is accepted."""
        try:
            threading.Thread(target=self._serve_safely, args=(connection, port), daemon=True).start()
        except Exception:  # such as that there can be no more threads
            log.exception("a connection of a strict worker is closed: it could not be served")
            connection.close()
            time.sleep(_FULL_PAUSE)

    def _serve_safely(self, connection: socket.socket, port: int) -> None:
        try:
            self._serve(connection, port)
        except Exception:
            log.exception("a connection of a strict worker is closed: serving it failed")

    def _serve(self, connection: socket.socket, port: int) -> None:
        """One connection, from whom it is to its end."""
        with connection:
            connection.settimeout(_HEAD_TIMEOUT)
            worker = Peer(connection, h11.SERVER)
            client = owners.owner(self._host, port, self._clients)
            if client is None:
                return _refuse(worker, 403, "The process that connects has ended, or belongs to no run.")
            held = self._open.setdefault(client, _Connections())
            if len(held.sockets) >= _MOST_SOCKETS:
                return _refuse(worker, 429, "The run has too many connections open.")
            if not _IN_ALL.acquire(blocking=False):
                return _refuse(worker, 503, "The runs of this pool have too many connections open.")
            held.sockets.add(connection)
            try:
                while self._serve_request(worker, client, held):
                    connection.settimeout(_HEAD_TIMEOUT)
                    worker.http.start_next_cycle()
            except (OSError, h11.ProtocolError) as error:
                log.debug("a connection of a strict worker ended: %s", error)
            finally:
                held.sockets.discard(connection)
                _IN_ALL.release()

    def _serve_request(self, worker: Peer, client: Client, held: _Connections) -> bool:
        """Serve one request; False if it was the connection's last. Raises OSError and ProtocolError."""
        request = worker.next()
        if not isinstance(request, h11.Request):
            return False
        try:
            route = self._route(request)
            with held.dialling:
                upstream = dialer.dial(route, self._routes.destinations, self._context)
        except Malformed as error:
            _answer(worker, 400, str(error))
            return False
        except Refused as refused:
            access = Access(refused.host, refused.port, str(refused))
            client.report(access)
            _answer(worker, 403, str(access))
            return False
        except OSError as error:
            _answer(worker, 502, f"{route.host} cannot be reached: {error.strerror or error}")
            return False
        if not route.trusted:
            client.report(Access(route.host, route.port))
        held.sockets.add(upstream)
        try:
            with upstream:
                return self._pass_on(request, worker, upstream, route)
        finally:
            held.sockets.discard(upstream)

    def _route(self, request: h11.Request) -> Route:
        target = request.target.decode("ascii", "replace")
        return self._routes.tunnel(target) if request.method == b"CONNECT" else self._routes.request(target)

    def _pass_on(self, request: h11.Request, worker: Peer, upstream: socket.socket, route: Route) -> bool:
        if request.method == b"CONNECT":
            worker.next()  # the end of the request: CONNECT has no body
            worker.send(h11.Response(status_code=200, headers=[], reason=b"Connection established"))
            upstream.sendall(worker.http.trailing_data[0])
            tunnel.join(worker.socket, upstream, _IDLE_TIMEOUT)
            return False
        worker.socket.settimeout(_IDLE_TIMEOUT)
        upstream.settimeout(_IDLE_TIMEOUT)
        forwarding.forward(request, worker, upstream, route)
        return worker.http.our_state is h11.DONE and worker.http.their_state is h11.DONE


def _refuse(worker: Peer, status: int, text: str) -> None:
    """Answer whatever is asked with a refusal."""
    try:
        worker.next()
    except (OSError, h11.ProtocolError):
        return
    _answer(worker, status, text)


def _answer(worker: Peer, status: int, text: str) -> None:
    """Refuse with a reason that clients show, and close. Its line of status is what most of them have."""
    reason = text.encode("ascii", "replace")
    body = f"{text}\n".encode()
    headers = [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", str(len(body))),
        ("connection", "close"),
    ]
    try:
        worker.send(h11.Response(status_code=status, headers=headers, reason=reason))
        worker.send(h11.Data(data=body))
        worker.send(h11.EndOfMessage())
    except (OSError, h11.ProtocolError):
        pass  # it has gone, or has said nothing yet that could be answered


def _end(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended already
