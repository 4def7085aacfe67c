"""Redis as the broker: its options, kombu's client for it, and how a pool process asks for messages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import redis as redis_client
from celery import Celery, bootsteps
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from redis.exceptions import ResponseError

from runtime.queue import internals
from runtime.queue.failures import is_away
from runtime.queue.messages import PREFIX, dropped, is_ours_in_redis
from runtime.settings import Settings
from runtime.stream import KEEPALIVE, rights

log = logging.getLogger(__name__)

_TLS = "branchline_tls"
_PREFIX = PREFIX.encode()
_SCHEMES = ("redis", "rediss", "unix", "sentinel")


def serves(broker_url: str) -> bool:
    """Whether the broker at this address is Redis."""
    return broker_url.startswith(_SCHEMES)


RIGHTS: Sequence[rights.Call] = (
    ("PING",), ("MULTI",), ("EXEC",),
    ("LPUSH", "runs.{probe}", "x"), ("BRPOP", "runs.{probe}", 1), ("LLEN", "runs.{probe}"),
    ("TYPE", "runs.{probe}"), ("EXISTS", "runs.{probe}"), ("DEL", "runs.{probe}"),
    ("SADD", "_kombu.{probe}", "x"), ("SMEMBERS", "_kombu.{probe}"),
    ("SREM", "_kombu.{probe}", "x"),
    ("ZRANGEBYSCORE", "_kombu.{probe}", 0, 1),
    ("ZADD", "_kombu.{probe}", 1, "x"), ("ZRANGE", "_kombu.{probe}", 0, 1), ("ZREM", "_kombu.{probe}", "x"),
    ("EVAL", "return 1", 0), ("EVALSHA", "0" * 40, 0), ("SCRIPT LOAD", "return 1"), ("WATCH", "runs.{probe}"),
    ("UNWATCH",), ("PEXPIRE", "_kombu.{probe}", 1),
    ("LLEN", "{probe}.celery.pidbox"), ("DEL", "{probe}.celery.pidbox"),
    ("SCRIPT EXISTS", "0" * 40), ("PUBLISH", "/0.probe.celeryev/x", "x"),
)  # fmt: skip
"""What kombu and Celery do: queues, and what Flower shows and asks for. Nobody hears this channel."""


def missing_rights(broker_url: str, timeout: float) -> list[str]:
    """What the user of this Redis may not do there, one line each. Raises RedisError where it is away."""
    times = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    with redis_client.Redis.from_url(broker_url, **times) as client:
        database = client.connection_pool.connection_kwargs.get("db", 0)
        return rights.missing(client, RIGHTS, f"/{database}.celery.pidbox")


def transport_options(settings: Settings) -> dict[str, Any]:
    """Celery's ``broker_transport_options``."""
    return {
        "visibility_timeout": 24 * 3600,
        _TLS: _tls(settings.broker_url),
        "socket_timeout": settings.redis.timeout,
        "socket_connect_timeout": settings.redis.connect_timeout,
        "socket_keepalive": True,
        "socket_keepalive_options": KEEPALIVE,
        # A consumer whose question stays unanswered for so long asks on a new connection.
        "health_check_interval": settings.redis.timeout,
    }


def _tls(broker_url: str) -> dict[str, Any]:
    """How redis-py verifies the server at this address: the event log's connections use redis-py alone."""
    if not broker_url.startswith("rediss://"):
        return {}
    parsed = redis_client.ConnectionPool.from_url(broker_url.split(";")[0]).connection_kwargs
    return {name: value for name, value in parsed.items() if name.startswith("ssl_")}


class Channel(kombu_redis.Channel):
    """kombu's channel, which keeps its client, and hands on only messages that are ours."""

    _kept: Any = None

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        """How to connect. kombu alone would accept any certificate where the address does not say more."""
        options: dict[str, Any] = super()._connparams(asynchronous)  # type: ignore[no-untyped-call]
        tls: dict[str, Any] = self.connection.client.transport_options.get(_TLS, {})
        return {name: value for name, value in options.items() if not name.startswith("ssl_")} | tls

    def _create_client(self, asynchronous: bool = False) -> Any:
        """A client; the one that waits for messages looks at them before kombu decodes them."""
        client = super()._create_client(asynchronous)  # type: ignore[no-untyped-call]
        if asynchronous:
            client.parse_response = partial(self._parse_response, client.parse_response)
        return client

    def _parse_response(
        self, parse: Callable[..., Any], connection: Any, command: str, **options: Any
    ) -> Any:
        """A reply; None, as where no message came, in place of a message that is not ours."""
        if command != "BRPOP":
            return parse(connection, command, **options)
        try:
            reply = parse(connection, command, **options)
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            self._delete_what_is_no_queue()
        else:
            if not reply or not reply[0].startswith(_PREFIX) or is_ours_in_redis(reply[1]):
                return reply
            dropped.add()
        return None

    def _delete_what_is_no_queue(self) -> None:
        """Delete keys that have the name of a queue and are none: nobody could publish to it either."""
        keys = [self._q_for_pri(queue, step) for queue in self.active_queues for step in self.priority_steps]  # type: ignore[no-untyped-call]
        with self.conn_or_acquire() as client:
            for key in keys:
                if client.type(key) not in (b"list", b"none"):
                    client.delete(key)
                    dropped.add()

    def conn_or_acquire(self, client: Any = None) -> Any:
        """A context with the client to use."""
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = self._create_client()
        return nullcontext(client or self._kept)


class Transport(kombu_redis.Transport):
    """kombu's transport with that channel."""

    Channel = Channel

    def _deliver(self, message: Any, queue: Any) -> None:
        """Hand a message to its consumer; drop what kombu or Celery cannot even look at."""
        try:
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]
        except Exception as error:
            if is_away(error):
                raise
            dropped.add()
            log.debug("a message could not be delivered", exc_info=True)


def register_transport() -> None:
    """Have kombu use :class:`Transport` for addresses of Redis."""
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:{Transport.__name__}"))


class PollWhenSlotIsFree(bootsteps.Step):  # type: ignore[misc]
    """A pool process asks Redis for a message when it has a slot for it, and at once when one becomes free.

    Celery's ``worker_disable_prefetch`` alone lets a process that was full ask again only when
    two seconds have passed without a message.
    """

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        internals.before_each_poll(consumer, partial(internals.wait_for_slot, consumer))


def receive(task: Any, app: Celery, consumer: Any) -> Callable[..., Any]:
    """The strategy for received messages: none is acknowledged.

    On Redis an acknowledgement is bookkeeping of Celery's own, in two round trips a message,
    for the sake of delivering lost messages again, which the reaper does anyway.
    """
    return internals.receive(task, app, consumer, lambda acknowledge: _do_nothing)


def _do_nothing(*_: Any) -> None:
    """Acknowledge nothing."""
