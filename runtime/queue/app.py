"""Celery: its configuration, for every process that uses it, and the queues of the pools.

A Celery message carries a run's id and is a hint to claim it, no more. So the
message is acknowledged early, no result is stored, and what is lost on the way is
made up for by the reaper. With late acknowledgement on Redis, a run longer than
the visibility timeout, or one dropped connection, would start a run twice.

A pool process takes no message that it has no slot for, so that another process
of its pool can, and takes one at once when a slot becomes free. Celery has no way
of doing so that suits both brokers: see :class:`_AskWhenRoom` for Redis and
:class:`_AcknowledgeWhenRoom` for RabbitMQ.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import cache, partial
from typing import Any

import kombu.exceptions
import redis.exceptions
from celery import Celery, bootsteps, signals
from celery.worker import state
from celery.worker.strategy import default as receive
from kombu import Exchange, Queue
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as redis_transport
from kombu.transport.pyamqp import Transport as RabbitMQ

from runtime.errors import BrokerUnavailable
from runtime.settings import Settings, current
from runtime.store.backlog import Ticket
from runtime.stream import KEEPALIVE

log = logging.getLogger(__name__)

TASK = "branchline.run"

_EXCHANGE = Exchange("runs", type="direct", durable=True)

_CONFIRMED_WITHIN = 2.0
"""Seconds that RabbitMQ may take to confirm a message; it does not while its memory or disk is full."""

_HEARTBEAT = 10
"""Seconds after two of which a RabbitMQ that says nothing counts as gone."""

_AGAIN = {"interval_start": 0.2, "interval_step": 0.2, "interval_max": 1.0}
"""Seconds between two tries of a pool process to reach a broker that is away."""

_BROKEN = (
    kombu.exceptions.KombuError,
    redis.exceptions.RedisError,
    *RabbitMQ.connection_errors,
    *RabbitMQ.channel_errors,
    *RabbitMQ.recoverable_connection_errors,
)


@cache
def queue(pool: str, **options: Any) -> Queue:
    """The queue that a pool consumes."""
    name = f"runs.{pool}"
    return Queue(name, _EXCHANGE, routing_key=name, durable=True, **options)


def make_celery(settings: Settings, pools: Iterable[str] = ()) -> Celery:
    """Celery as this project uses it; ``pools`` are those this process consumes or shows."""
    app = Celery("branchline", broker=settings.broker_url, set_as_current=False)
    on_redis = settings.broker_url.startswith(("redis", "rediss", "unix", "sentinel"))
    app.on_redis = on_redis
    app.conf.update(
        # messages
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        result_backend_thread_safe=True,  # there is none; else each task makes one anew
        task_acks_late=False,
        # On Redis an acknowledgement is bookkeeping of Celery's own, two round trips a message,
        # for the sake of bringing back what the reaper brings back anyway.
        task_queues=[queue(pool, no_ack=on_redis) for pool in pools],
        task_create_missing_queues=False,
        # A pool process takes no more than it can start.
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=on_redis,
        worker_enable_prefetch_count_reduction=False,
        # for Flower
        worker_send_task_events=True,
        task_send_sent_event=False,
        # connections
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=settings.redis.connect_timeout,
        broker_heartbeat=_HEARTBEAT,
        # RabbitMQ closes a channel, not the connection, when something about a queue is not to its liking.
        broker_channel_error_retry=True,
        broker_pool_limit=8,
        broker_pool_acquire_timeout=settings.redis.timeout,
        broker_transport_options=_redis_options(settings) if on_redis else _rabbitmq_options(settings),
        # About late acknowledgement, which there is none of; unset, Celery warns at each lost connection.
        worker_cancel_long_running_tasks_on_connection_loss=True,
        # ours
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        enable_utc=True,
    )
    app.steps["consumer"].add(_ReachAgainSoon)
    if on_redis:
        app.steps["consumer"].add(_AskWhenRoom)
        app.Task.Strategy = f"{__name__}:_receive_unacknowledged"
    else:
        app.steps["consumer"].add(_AcknowledgeWhenRoom)
        app.Task.Strategy = f"{__name__}:_receive_if_room"
    return app


def publish(app: Celery, ticket: Ticket) -> None:
    """Tell a pool that a run waits to be claimed.

    Raises BrokerUnavailable; the message may have arrived nevertheless.
    """
    try:
        try:
            _publish(app, ticket)
        except _BROKEN:  # a connection from the pool may have died since it was used last
            _publish(app, ticket)
    except _BROKEN as error:
        raise BrokerUnavailable from error


def _publish(app: Celery, ticket: Ticket) -> None:
    to = queue(ticket.pool)
    with app.producer_pool.acquire(block=True) as producer:
        try:
            app.send_task(
                TASK,
                args=[ticket.run_id],
                # What Flower shows; the receiver reads nothing but the run's id.
                shadow=f"{ticket.worker_id}, attempt {ticket.attempt}",
                argsrepr=f"run {ticket.run_id}",
                queue=to,
                # RabbitMQ drops what is sent to a queue that nobody has declared; Redis needs none.
                declare=() if app.on_redis else (to,),
                ignore_result=True,
                confirm_timeout=_CONFIRMED_WITHIN,
                retry=False,
                producer=producer,
            )
        except _BROKEN:
            # A late confirmation of this message would be taken for that of the next.
            producer.connection.collect()
            raise


class _Channel(redis_transport.Channel):
    """kombu's channel on Redis, but it does not make a client anew for each message."""

    _kept: Any = None

    def conn_or_acquire(self, client: Any = None) -> Any:
        """Of kombu."""
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = self._create_client()  # type: ignore[no-untyped-call]
        return nullcontext(client or self._kept)


class _Redis(redis_transport.Transport):
    """kombu's transport with that channel."""

    Channel = _Channel


TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), f"{__name__}:_Redis"))


class _ReachAgainSoon(bootsteps.Step):  # type: ignore[misc]
    """A pool process that has lost its broker tries to reach it again often, and says once that it does.

    Left alone, one whose broker was away for some minutes waits up to half a minute
    longer than the broker was away.
    """

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        consumer.ensure_connected = self._reach
        self._away = False

    def _reach(self, connection: Any) -> Any:
        try:
            return connection.ensure_connection(self._say, callback=state.maybe_shutdown, **_AGAIN)
        finally:
            self._away = False

    def _say(self, error: Exception, _: float) -> None:
        if not self._away:
            log.warning("the broker is away (%s); trying to reach it until it is back", error)
        self._away = True


class _AskWhenRoom(bootsteps.Step):  # type: ignore[misc]
    """A pool process asks Redis for a message when it has a slot for it.

    Left alone, one that was full asks again when two seconds have passed without a
    message (``worker_disable_prefetch``), however soon a slot becomes free.
    """

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        prepare = consumer.perform_pending_operations  # what its loop does before it asks

        def wait_and_prepare() -> None:
            consumer.pool._pool.wait_available()
            prepare()

        consumer.perform_pending_operations = wait_and_prepare


class _AcknowledgeWhenRoom(bootsteps.StartStopStep):  # type: ignore[misc]
    """RabbitMQ sends a pool process its next message when there is a slot for it.

    It sends one message at a time, the next after the acknowledgement of that. So a
    message is acknowledged as soon as it is started, but the one that took the last
    slot when any slot is free again.
    """

    requires = ("celery.worker.consumer.connection:Connection",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._pool = consumer.pool
        self._last: Callable[[], None] | None = None
        consumer.initial_prefetch_count = 1
        consumer.room = self
        signals.task_postrun.connect(self._freed)

    def start(self, consumer: Any) -> None:
        """A new connection: what the old one was to acknowledge comes again, and finds its run claimed."""
        self._last = None

    def acknowledge(self, acknowledge: Callable[..., None], *arguments: Any) -> None:
        """Acknowledge the message that was just started, now or when there is room."""
        if len(state.active_requests) < self._pool.num_processes:
            acknowledge(*arguments)
        else:
            self._last = partial(acknowledge, *arguments)

    def _freed(self, **_: object) -> None:
        acknowledge, self._last = self._last, None
        if acknowledge is not None:
            acknowledge()


def _receive_unacknowledged(task: Any, app: Celery, consumer: Any) -> Callable[..., Any]:
    """Celery's way of receiving a message that nobody waits to hear of."""
    started = receive(task, app, consumer)

    def receive_one(message: Any, body: Any, ack: Callable[..., None], *more: Any) -> Any:
        return started(message, body, _nothing, *more)

    return receive_one


def _nothing(*_: Any) -> None:
    """Do nothing."""


def _receive_if_room(task: Any, app: Celery, consumer: Any) -> Callable[..., Any]:
    """Celery's way of receiving a message, but for its acknowledgement."""
    started = receive(task, app, consumer)

    def receive_one(message: Any, body: Any, ack: Callable[..., None], *more: Any) -> Any:
        return started(message, body, partial(consumer.room.acknowledge, ack), *more)

    return receive_one


def _redis_options(settings: Settings) -> dict[str, Any]:
    return {
        "visibility_timeout": 24 * 3600,
        "socket_timeout": settings.redis.timeout,
        "socket_connect_timeout": settings.redis.connect_timeout,
        "socket_keepalive": True,
        "socket_keepalive_options": KEEPALIVE,
        # A consumer whose question stays unanswered for so long asks on a new connection.
        "health_check_interval": settings.redis.timeout,
    }


def _rabbitmq_options(settings: Settings) -> dict[str, Any]:
    # Celery forgets broker_connection_timeout in a pool with green threads, this it keeps.
    return {"confirm_publish": True, "connect_timeout": settings.redis.connect_timeout}


def __getattr__(name: str) -> Any:
    """``app``, which ``celery -A runtime.queue.app`` asks for: with the queue of every worker."""
    if name != "app":
        raise AttributeError(name)
    from runtime.registry import discover

    settings = current()
    workers = discover(settings.worker_folders).workers.values()
    globals()["app"] = app = make_celery(settings, sorted({worker.pool for worker in workers}))
    return app
