"""Redis as the broker: its options, kombu's client for it, and how a pool process asks for messages."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

from celery import Celery, bootsteps
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis

from runtime.queue import internals
from runtime.settings import Settings
from runtime.stream import KEEPALIVE

_SCHEMES = ("redis", "rediss", "unix", "sentinel")


def serves(broker_url: str) -> bool:
    """Whether the broker at this address is Redis."""
    return broker_url.startswith(_SCHEMES)


def transport_options(settings: Settings) -> dict[str, Any]:
    """Celery's ``broker_transport_options``."""
    return {
        "visibility_timeout": 24 * 3600,
        "socket_timeout": settings.redis.timeout,
        "socket_connect_timeout": settings.redis.connect_timeout,
        "socket_keepalive": True,
        "socket_keepalive_options": KEEPALIVE,
        # A consumer whose question stays unanswered for so long asks on a new connection.
        "health_check_interval": settings.redis.timeout,
    }


class Channel(kombu_redis.Channel):
    """kombu's channel, which keeps its client instead of making one for each message."""

    _kept: Any = None

    def conn_or_acquire(self, client: Any = None) -> Any:
        """A context with the client to use."""
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = self._create_client()  # type: ignore[no-untyped-call]
        return nullcontext(client or self._kept)


class Transport(kombu_redis.Transport):
    """kombu's transport with that channel."""

    Channel = Channel


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
