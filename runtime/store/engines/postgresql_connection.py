"""PostgreSQL connections: bounded in time, and cooperative under gevent.

A server that is stopped, or behind a network that swallows everything, says
nothing. So what is sent must be acknowledged by its kernel within seconds, and a
statement be answered within a few more than the server itself gives it.

psycopg waits in ``select.poll``, which gevent replaces by one that makes new
watchers at each call. A query is one wait, so there a connection keeps its own.

A pooler such as PgBouncer may be in front, and give each transaction another of its
connections to the server. What belongs to a session is of no use there: see
:class:`Connector`.
"""

from __future__ import annotations

import logging
import os
import select
from contextlib import suppress
from typing import Any

import gevent
import orjson
import psycopg
from psycopg import waiting
from psycopg.pq import TransactionStatus
from psycopg.types.json import set_json_loads

from runtime.settings.database_address import PostgreSQLServer
from runtime.system import greenlets

log = logging.getLogger(__name__)

DRIVER = "postgresql+psycopg://"
"""What SQLAlchemy is told of the database: the connections come from here, with libpq's parameters."""
_READ, _WRITE = 1, 2
_poll = greenlets.original("select", "poll")

_BOUNDS: dict[str, Any] = {
    "connect_timeout": 3,
    "tcp_user_timeout": 3000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
"""Of libpq; all in seconds but the second, which is in milliseconds. A lease must survive one of them."""

_IDLE = 5.0
"""Seconds after which the server takes back what a transaction holds that asks for nothing: a
process that was stopped in the midst of one would keep all others from publishing."""

_GRACE = 2.0
"""Seconds that an answer may take longer than the server gives a statement."""

_ONCE_TIMEOUT = 5
"""Seconds that the connection of a migration may take to be made."""
_STRANGER_TIMEOUT = 3
"""Seconds that a connection without a password may take."""


class Connector:
    """Makes the connections of one database.

    It notices a pooler by the process that serves the first statement: that is not the one that
    the connection was told of. Behind a pooler no session is set up, which others would get next,
    and no statement is prepared, which another session would not know.
    """

    def __init__(self, address: PostgreSQLServer, statement_timeout: float) -> None:
        """The address may have bounds of its own. ``statement_timeout`` in seconds."""
        self._address = address
        self._patience = statement_timeout + _GRACE
        # No query is so long that it would pay to compile it, but some look so to the planner. And a
        # plan that was made while the tables were small, and read them whole, would be kept as they grow.
        # What is read by a cursor is read to its end. As ``options`` of libpq these would take the
        # place of those of an operator: in the address, in PGOPTIONS, in a service file.
        self._session = {
            "statement_timeout": int(statement_timeout * 1000),
            "idle_in_transaction_session_timeout": int(_IDLE * 1000),
            "timezone": "UTC",
            "jit": "off",
            "enable_seqscan": "off",
            "cursor_tuple_fraction": 1,
        }
        self._pooled: bool | None = None
        """Whether a pooler is in front; None until the first connection is made."""

    @property
    def settings_of_transaction(self) -> str:
        """What follows the statement that begins a transaction, in the same message.

        Behind a pooler the settings of a session become those of each transaction.
        """
        return f"; {self._settings('SET LOCAL')}" if self._pooled else ""

    def connect(self) -> psycopg.Connection[Any]:
        """A new connection in autocommit."""
        kind = Cooperative if greenlets.patched() else Connection
        connection = kind.connect(**_BOUNDS | self._address.parameters, autocommit=True)
        connection.patience = self._patience
        try:
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        # SQLAlchemy sets this only for connections that it opens itself. The standard library
        # reads whole numbers of any size, which no answer can hold; here they become floats.
        set_json_loads(orjson.loads, connection)
        connection.adapters.register_loader("uuid", _TextLoader)
        return connection

    def _set_up(self, connection: Connection) -> None:
        if self._pooled is None:
            self._pooled = _is_pooled(connection)
            if self._pooled:
                log.info("a pooler is in front of the database: nothing is left to its sessions")
        if self._pooled:
            connection.prepare_threshold = None
        else:
            connection.execute(self._settings("SET"))

    def _settings(self, command: str) -> str:
        return "; ".join(f"{command} {name} = {value}" for name, value in self._session.items())


def _is_pooled(connection: Connection) -> bool:
    """Whether another process serves this connection than it was told of."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return row is None or row[0] != connection.info.backend_pid


def connect_once(address: PostgreSQLServer) -> psycopg.Connection[Any]:
    """A new connection as psycopg makes it, for a migration, whose statements may take long."""
    # A pooler in front would hand what was prepared here to sessions that know nothing of it.
    options: dict[str, Any] = {"connect_timeout": _ONCE_TIMEOUT, "prepare_threshold": None}
    return psycopg.connect(**options | address.parameters)


def welcomes_strangers(address: PostgreSQLServer) -> bool:
    """Whether somebody without a password gets in; False where the server does not answer."""
    # Empty, so that neither PGPASSWORD nor a file of passwords is used.
    without: dict[str, Any] = {"password": "", "passfile": os.devnull, "connect_timeout": _STRANGER_TIMEOUT}
    try:
        psycopg.connect(**address.parameters | without).close()
    except psycopg.Error:
        return False
    return True


class Connection(psycopg.Connection[Any]):
    """A connection that is given up when its server does not answer."""

    patience: float | None = None
    """Seconds that one statement may take."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Drive one of psycopg's generators to its end; its result."""
        try:
            return self._drive(gen, interval, timeout or self.patience)
        except psycopg.OperationalError:
            # An answer that comes yet would be taken for that of the next statement.
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise

    def _drive(self, gen: Any, interval: float, timeout: float | None) -> Any:
        return super().wait(gen, interval, timeout)


class Cooperative(Connection):
    """A connection whose waits let other greenlets run."""

    _readable: Any = None
    _usable: Any = None

    def _drive(self, gen: Any, interval: float, timeout: float | None) -> Any:
        try:
            state = next(gen)
            with gevent.Timeout(timeout, psycopg.OperationalError("the server does not answer")):
                while True:
                    state = gen.send(self._until(state))
        except StopIteration as end:
            return end.value
        except BaseException:
            # What it still has to do, it cannot; left to itself it would print the error of that.
            with suppress(psycopg.Error):
                gen.close()
            raise

    def _until(self, state: int) -> int:
        """Wait as the generator asks; what the socket is ready for."""
        hub = gevent.get_hub()
        descriptor = self.pgconn.socket
        if state == waiting.WAIT_R:
            if self._readable is None:
                self._readable = hub.loop.io(descriptor, _READ)
            hub.wait(self._readable)
            return waiting.READY_R
        if self._usable is None:
            self._usable = hub.loop.io(descriptor, _READ | _WRITE if state == waiting.WAIT_RW else _WRITE)
        hub.wait(self._usable)
        return _ready(descriptor)

    def close(self) -> None:
        """Close the connection and its watchers."""
        for watcher in (self._readable, self._usable):
            if watcher is not None:
                watcher.close()
        self._readable = self._usable = None
        super().close()


class _TextLoader(psycopg.adapt.Loader):
    """A value as the text that the server sends."""

    def load(self, data: Any) -> str:
        """Of psycopg."""
        return bytes(data).decode()


def ended(connection: psycopg.Connection[Any]) -> bool:
    """Whether an idle connection was closed, here or by the server.

    Sends nothing, so no statement is sent twice.
    """
    try:
        poll = _poll()
        poll.register(connection.pgconn.socket, select.POLLIN)
        if not poll.poll(0):
            return False
        for _ in range(2):  # its last words, then its end
            connection.pgconn.consume_input()
    except psycopg.OperationalError:
        return True
    return False


def _ready(descriptor: int) -> int:
    poll = _poll()
    poll.register(descriptor, select.POLLIN | select.POLLOUT)
    found = sum(event for _, event in poll.poll(0))
    return (waiting.READY_R if found & select.POLLIN else 0) | (
        waiting.READY_W if found & select.POLLOUT else 0
    )
