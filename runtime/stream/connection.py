"""The connections of a process to Redis. Here and in ``address`` redis-py's internals are used.

Their number is bounded: a caller that finds none free waits. Each connection learns the
run id of its server when it is made and hands it to every script, so that the log
notices a restart or a failover (the log's epoch: docs/explanation/event-log.md).

What is used here beyond redis-py's documented interface is listed in
tests/unit/test_vendor_redis.py, which fails when a new version changes it.
"""

from __future__ import annotations

import hashlib
import queue
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, NoScriptError, ReadOnlyError, TimeoutError
from redis.retry import Retry

from runtime import settings
from runtime.errors import StreamUnavailable
from runtime.stream.address import connection_options, make_client
from runtime.stream.failures import is_away
from runtime.stream.keys import Keys

PING_AFTER = 10.0
"""Seconds of silence after which a pub/sub connection is asked whether it lives."""

RECONNECT_AFTER = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts to get a pub/sub connection again; the last one repeats."""

_TCP = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 5000}
KEEPALIVE = {getattr(socket, name): value for name, value in _TCP.items() if hasattr(socket, name)}
"""Socket options: a peer that vanished without closing is noticed within seconds, not hours."""

LUA = Path(__file__).parent / "lua"

_PAUSE = 1.0
"""Seconds for which calls fail at once after the server has not answered, so that they do not all wait."""

Argument = str | bytes | int


class Script:
    """A Lua script: the files ``names`` of the folder ``lua``, one after the other."""

    def __init__(self, *names: str) -> None:
        self.name = names[-1]
        self.source = b"".join((LUA / f"{name}.lua").read_bytes() for name in names)
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()


class _Pool(redis.ConnectionPool):
    """At most ``max_connections``, newest first; a caller that finds none free waits ``wait`` seconds.

    Unlike redis-py's blocking pool it does not poll a connection's socket each time it
    lends it: a broken one fails when it is used, and its user tries again.
    """

    def __init__(self, *, wait: float, **more: Any) -> None:
        self._wait = wait
        super().__init__(**more)

    def reset(self) -> None:
        super().reset()
        # One slot for each connection that may be lent. Not a threading.Semaphore: under gevent
        # its condition variable becomes very slow when many greenlets wait.
        self._slots: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(self.max_connections):
            self._slots.put(None)

    def get_connection(self, command_name: str | None = None, *keys: Any, **options: Any) -> Any:
        self._checkpid()
        try:
            self._slots.get(timeout=self._wait)
        except queue.Empty:
            raise ConnectionError("every connection was busy for too long") from None
        try:
            return self._available_connections.pop()
        except IndexError:
            return self.connection_class(**self.connection_kwargs)

    def release(self, connection: Any) -> None:
        self._checkpid()
        if connection.pid != self.pid:  # lent before a fork: it belongs to the parent
            return
        self._available_connections.append(connection)
        self._slots.put(None)


class Link:
    """This process's connections to one Redis server."""

    def __init__(self, url: str, limits: settings.Redis, installation: str = "") -> None:
        """``installation``: what its keys and channels begin with, if the server has several."""
        self.keys = Keys(installation)
        self.timeout = limits.timeout
        options = connection_options(
            url,
            limits.connect_timeout,
            protocol=2,
            max_connections=limits.connections,
            wait=limits.timeout,
            socket_timeout=limits.timeout,
            socket_connect_timeout=limits.connect_timeout,
            socket_keepalive=True,
            socket_keepalive_options=KEEPALIVE,
            retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionError,)),
            redis_connect_func=_greet,
            client_name="branchline",
            driver_info=None,
        )
        self._pool = _Pool(**options)
        self._suspended_until = 0.0
        self._url = url
        self.client = redis.Redis(connection_pool=self._pool)
        """For commands that need no script; the caller handles RedisError."""

    def is_open_to_all(self) -> bool:
        """Whether the server serves a stranger: a run has no password, and cannot read ours.

        False where it does not answer.
        """
        stranger = make_client(self._url, self.timeout, anonymous=True)
        try:
            return bool(stranger.ping())
        except redis.RedisError:
            return False
        finally:
            stranger.close()

    def call(
        self,
        script: Script,
        keys: Sequence[Argument],
        args: Sequence[Argument],
        *,
        resend: bool = True,
    ) -> Any:
        """Run ``script`` with the server's run id in front of ``args``.

        A connection that turns out broken is made anew and the call sent again;
        with ``resend=False`` only if it broke before the call, for scripts that
        must not run twice. Raises StreamUnavailable.
        """
        with translated(), self._unless_suspended():
            connection = self._pool.get_connection()
            try:
                if not resend:
                    _renew_if_broken(connection)
                try:
                    return _evaluate(connection, script, keys, args)
                except ReadOnlyError:  # a replica since the failover; the address leads to the new primary
                    connection.disconnect()
                except ConnectionError:
                    if not resend:
                        raise
                    connection.disconnect()
                return _evaluate(connection, script, keys, args)
            finally:
                self._pool.release(connection)

    def publish(self, channel: str, message: bytes) -> int:
        """Send ``message`` to the subscribers; how many there were. Raises StreamUnavailable."""
        with translated(), self._unless_suspended():
            return int(self.client.publish(channel, message))

    @contextmanager
    def _unless_suspended(self) -> Iterator[None]:
        if time.monotonic() < self._suspended_until:
            raise TimeoutError("it did not answer a moment ago")
        try:
            yield
        except TimeoutError:
            self._suspended_until = time.monotonic() + _PAUSE
            raise

    def new_pubsub_connection(self) -> PubSubConnection:
        """A connection outside the pool, for subscriptions; not connected yet."""
        return PubSubConnection(self._pool.connection_class(**self._pool.connection_kwargs))

    def close(self) -> None:
        """Close every connection."""
        self._pool.disconnect()


class PubSubConnection:
    """A connection for subscriptions, which one greenlet may read while another one writes.

    redis-py's own PubSub allows that only with a lock around each reply.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def connect(self) -> None:
        """Connect. Raises RedisError."""
        self._connection.connect()

    def send(self, *command: str) -> None:
        """Send a command, whose reply ``receive`` gets. Raises OSError.

        It writes to the socket itself: redis-py closes a connection whose sending fails,
        while the other greenlet still reads from it.
        """
        self._connection._sock.sendall(b"".join(self._connection.pack_command(*command)))

    def receive(self, seconds: float) -> list[Any]:
        """The next reply. Raises redis-py's TimeoutError after ``seconds``, else RedisError."""
        return list(self._connection.read_response(timeout=seconds, disconnect_on_error=False))

    def shut_down(self) -> None:
        """Make ``receive``, which another greenlet may be in, raise ConnectionError."""
        with suppress(OSError, AttributeError):  # it may be closed already, and have no socket
            self._connection._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it; more than once does no harm."""
        self._connection.disconnect()


@contextmanager
def translated() -> Iterator[None]:
    """Within it, a Redis that is busy or away is StreamUnavailable; a fault of ours stays what it is."""
    try:
        yield
    except Exception as error:
        if is_away(error):
            raise StreamUnavailable(f"Redis is away or refuses: {error}") from error
        raise


def _greet(connection: Any) -> None:
    """Set up a new connection, and learn the run id of its server."""
    connection.on_connect()
    connection.send_command("INFO", "server", check_health=False)
    about = connection.read_response()
    about = about if isinstance(about, bytes) else about.encode()
    connection.server_run_id = about.split(b"run_id:", 1)[1].split(b"\r\n", 1)[0]


def _renew_if_broken(connection: Any) -> None:
    try:
        broken = connection.is_connected and connection.can_read()
    except ConnectionError:
        broken = True
    if broken:
        connection.disconnect()


def _evaluate(connection: Any, script: Script, keys: Sequence[Argument], args: Sequence[Argument]) -> Any:
    connection.connect()
    arguments = [len(keys), *keys, connection.server_run_id, *args]
    connection.send_command("EVALSHA", script.sha, *arguments, check_health=False)
    try:
        return connection.read_response()
    except NoScriptError:
        connection.send_command("EVAL", script.source, *arguments, check_health=False)
        return connection.read_response()
