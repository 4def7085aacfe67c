"""Redis as the broker: its options, kombu's client for it, and how a pool process asks for messages."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

from celery import Celery, bootsteps
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from redis.exceptions import ResponseError

from runtime.queue import internals
from runtime.queue.failures import is_away
from runtime.queue.messages import dropped, is_ours_in_redis
from runtime.settings import Settings
from runtime.stream import KEEPALIVE

log = logging.getLogger(__name__)

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
    """kombu's channel, which keeps its client, and hands on only messages that are ours."""

    _kept: Any = None

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
            if not reply or is_ours_in_redis(reply[1]):
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
