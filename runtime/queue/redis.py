"""Redis as the broker: its options, kombu's client for it, and how a pool process asks for messages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from celery import Celery, bootsteps
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from redis.exceptions import ResponseError

from runtime.queue import internals
from runtime.queue.failures import is_away
from runtime.queue.messages import dropped, is_ours_in_redis, queue_prefix
from runtime.settings import Settings
from runtime.stream import KEEPALIVE, rights
from runtime.stream.address import SentinelClient, Sentinels, ToPrimary, ToPrimaryOverTLS, make_client

log = logging.getLogger(__name__)

_QUEUES = "branchline_queues"
"""The transport option that says what the names of our queues begin with. Flower shows it as JSON."""


def _rights(queue: str, celery: str, database: int) -> Sequence[rights.Call]:
    """What kombu and Celery do: queues, and what Flower shows and asks for. Nobody heeds an empty message."""
    return (
        ("PING",), ("MULTI",), ("EXEC",),
        ("LPUSH", queue, "x"), ("BRPOP", queue, 1), ("LLEN", queue),
        ("TYPE", queue), ("EXISTS", queue), ("DEL", queue),
        ("SADD", "_kombu.{probe}", "x"), ("SMEMBERS", "_kombu.{probe}"),
        ("SREM", "_kombu.{probe}", "x"),
        ("ZRANGEBYSCORE", "_kombu.{probe}", 0, 1),
        ("ZADD", "_kombu.{probe}", 1, "x"), ("ZRANGE", "_kombu.{probe}", 0, 1),
        ("ZREM", "_kombu.{probe}", "x"), ("EVAL", "return 1", 0), ("EVALSHA", "0" * 40, 0),
        ("SCRIPT LOAD", "return 1"), ("WATCH", queue),
        ("UNWATCH",), ("PEXPIRE", "_kombu.{probe}", 1),
        ("LLEN", f"{{probe}}.{celery}.pidbox"), ("DEL", f"{{probe}}.{celery}.pidbox"),
        ("LLEN", f"{celery}ev.{{probe}}"),
        ("SCRIPT EXISTS", "0" * 40), ("PUBLISH", f"/{database}.{celery}.pidbox", ""),
        ("PUBLISH", f"/{database}.{celery}ev/probe", ""),
    )  # fmt: skip


def missing_rights(settings: Settings, timeout: float) -> list[str]:
    """What our user may not do at the broker, which is a Redis, one line each.

    Raises RedisError where it is away.
    """
    installation = settings.service.branchline_installation
    celery = f"{installation}.celery" if installation else "celery"
    with make_client(settings.broker_url, timeout) as client:
        database = client.connection_pool.connection_kwargs.get("db", 0)
        calls = _rights(f"{queue_prefix(installation)}{{probe}}", celery, database)
        heard = (f"/{database}.{celery}.pidbox", f"/{database}.{celery}ev/*")
        return rights.missing(client, calls, patterns=heard)


def transport_options(settings: Settings) -> dict[str, Any]:
    """Celery's ``broker_transport_options``."""
    return {
        # None of our messages is acknowledged (see receive). With its emulation kombu looks for some
        # to deliver again where no message has come. And where one comes while a process stops it
        # notes that before it puts the message back: under names that all who use this Redis share,
        # and our user may have no right to.
        "ack_emulation": False,
        _QUEUES: queue_prefix(settings.service.branchline_installation),
        "socket_timeout": settings.redis.timeout,
        "socket_connect_timeout": settings.redis.connect_timeout,
        "socket_keepalive": True,
        "socket_keepalive_options": KEEPALIVE,
        # A consumer whose question stays unanswered for so long asks on a new connection.
        "health_check_interval": settings.redis.timeout,
        **_sentinels(settings),
    }


def _sentinels(settings: Settings) -> dict[str, Any]:
    if not settings.broker_url.startswith("sentinel://"):
        return {}
    found = Sentinels.parse(settings.broker_url)
    options = found.sentinel_options(settings.redis.connect_timeout)
    return {"master_name": found.master_name, "sentinel_kwargs": options}


class Channel(kombu_redis.Channel):
    """kombu's channel, which keeps its client, and hands on only messages that are ours."""

    _kept: Any = None

    @property
    def _our_queues(self) -> bytes:
        prefix: str = self.connection.client.transport_options[_QUEUES]
        return prefix.encode()

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
            if not reply or not reply[0].startswith(self._our_queues) or is_ours_in_redis(reply[1]):
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


class SentinelChannel(Channel):
    """The same, to the primary that sentinels name, with the connections that the event log has."""

    connection_class = ToPrimary  # type: ignore[assignment]
    connection_class_ssl = ToPrimaryOverTLS  # type: ignore[assignment]
    from_transport_options = (*Channel.from_transport_options, "master_name", "sentinel_kwargs")  # type: ignore[assignment]
    master_name: str
    sentinel_kwargs: Mapping[str, Any]

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        """How to connect."""
        options: dict[str, Any] = super()._connparams(asynchronous)  # type: ignore[no-untyped-call]
        urls = [urlsplit(url) for url in self.connection.client.alt]
        hosts = [(url.hostname, url.port) for url in urls] or [(options["host"], options["port"])]
        sentinel = SentinelClient(hosts, sentinel_kwargs=self.sentinel_kwargs)  # type: ignore[no-untyped-call]
        return {**options, "sentinel": sentinel, "master_name": self.master_name}


class SentinelTransport(Transport):
    """The same, to the primary that sentinels name."""

    Channel = SentinelChannel


def register_transport() -> None:
    """Have kombu use these transports for addresses of Redis."""
    TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:{Transport.__name__}"))
    TRANSPORT_ALIASES["sentinel"] = f"{__name__}:{SentinelTransport.__name__}"


class PollWhenSlotIsFree(bootsteps.Step):  # type: ignore[misc]
    """A pool process asks Redis for a message when it has a slot for it, and at once when one becomes free.

    Celery's ``worker_disable_prefetch`` alone lets a process that was full ask again only when
    two seconds have passed without a message.
    """

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._consumer = consumer
        internals.before_each_poll(consumer, self._wait)

    def _wait(self) -> None:
        internals.wait_for_slot(self._consumer)
        self._consumer.app.room.wait()


def receive(task: Any, app: Celery, consumer: Any) -> Callable[..., Any]:
    """The strategy for received messages: none is acknowledged.

    On Redis an acknowledgement is bookkeeping of Celery's own, in two round trips a message,
    for the sake of delivering lost messages again, which the reaper does anyway.
    """
    return internals.receive(task, app, consumer, lambda acknowledge: _do_nothing)


def _do_nothing(*_: Any) -> None:
    """Acknowledge nothing."""
