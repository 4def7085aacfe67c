"""The connections of a process to Redis.

They are bounded: who finds none free waits. Each connection learns the run id
of its server when it is made and hands it to every script, so that the log
notices a restart or a failover (DESIGN of the log's epoch: docs/architecture.md).
"""

from __future__ import annotations

import hashlib
import queue
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, NoScriptError, ReadOnlyError, RedisError, TimeoutError
from redis.retry import Retry

from runtime import settings
from runtime.errors import StreamUnavailable

PING_AFTER = 10.0
"""Seconds of silence after which a pub/sub connection is asked whether it lives."""

RECONNECT_AFTER = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts to get a pub/sub connection again; the last one repeats."""

_TCP = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 5000}
KEEPALIVE = {getattr(socket, name): value for name, value in _TCP.items() if hasattr(socket, name)}
"""Of a connection's socket: a peer that is gone without a word shows within seconds, not hours."""

LUA = Path(__file__).parent / "lua"

_PAUSE = 1.0
"""Seconds in which a server that did not answer is not asked again, so that not everybody waits for it."""

Argument = str | bytes | int


class Script:
    """A Lua script: the files ``names`` of the folder ``lua``, one after the other."""

    def __init__(self, *names: str) -> None:
        self.name = names[-1]
        self.source = b"".join((LUA / f"{name}.lua").read_bytes() for name in names)
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()


class _Pool(redis.ConnectionPool):
    """At most ``max_connections``, newest first; who finds none free waits ``wait`` seconds.

    Unlike redis-py's blocking pool it does not ask the kernel about a connection
    each time it lends it: a broken one shows at its use, and its user tries again.
    """

    def __init__(self, *, wait: float, **more: Any) -> None:
        self._wait = wait
        super().__init__(**more)

    def reset(self) -> None:
        super().reset()
        # A place for each connection there may be. Not a threading.Semaphore: what gevent
        # makes of its condition variable nearly stands still when many greenlets wait.
        self._places: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(self.max_connections):
            self._places.put(None)

    def get_connection(self, command_name: str | None = None, *keys: Any, **options: Any) -> Any:
        self._checkpid()
        try:
            self._places.get(timeout=self._wait)
        except queue.Empty:
            raise ConnectionError("every connection was busy for too long") from None
        try:
            return self._available_connections.pop()
        except IndexError:
            return self.connection_class(**self.connection_kwargs)

    def release(self, connection: Any) -> None:
        self._checkpid()
        if connection.pid != self.pid:  # lent before a fork: it is the parent's
            return
        self._available_connections.append(connection)
        self._places.put(None)


class Link:
    """This process's way to one Redis server."""

    def __init__(self, url: str, limits: settings.Redis) -> None:
        self.timeout = limits.timeout
        self._pool = _Pool.from_url(
            url,
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
        self._silent_until = 0.0
        self.client = redis.Redis(connection_pool=self._pool)
        """For commands that need no script; the caller handles RedisError."""

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
        with translated(), self._unless_silent():
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
        with translated(), self._unless_silent():
            return int(self.client.publish(channel, message))

    @contextmanager
    def _unless_silent(self) -> Iterator[None]:
        if time.monotonic() < self._silent_until:
            raise TimeoutError("it did not answer a moment ago")
        try:
            yield
        except TimeoutError:
            self._silent_until = time.monotonic() + _PAUSE
            raise

    def new_connection(self) -> Any:
        """A connection outside the pool, for pub/sub; not connected yet."""
        return self._pool.connection_class(**self._pool.connection_kwargs)

    def close(self) -> None:
        """Close every connection."""
        self._pool.disconnect()


@contextmanager
def translated() -> Iterator[None]:
    """Within it, Redis's errors are StreamUnavailable."""
    try:
        yield
    except RedisError as error:
        raise StreamUnavailable(f"Redis is away or refuses: {error}") from error


def _greet(connection: Any) -> None:
    """What is said on every new connection."""
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
    parts = [len(keys), *keys, connection.server_run_id, *args]
    connection.send_packed_command([_pack(b"EVALSHA", script.sha, parts)], check_health=False)
    try:
        return connection.read_response()
    except NoScriptError:
        connection.send_packed_command([_pack(b"EVAL", script.source, parts)], check_health=False)
        return connection.read_response()


def _pack(command: bytes, script: bytes, parts: Sequence[Argument]) -> bytes:
    """A command as RESP has it; quicker than redis-py's own for many small arguments."""
    out = [b"*%d\r\n" % (len(parts) + 2)]
    for part in (command, script, *parts):
        data = part if isinstance(part, bytes) else str(part).encode()
        out.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(out)
