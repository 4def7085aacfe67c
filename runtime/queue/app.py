"""Celery: its configuration, for every process that uses it, and the queues of the pools.

A Celery message carries the id of a run and is a hint to claim it, no more. So messages
are acknowledged early, no result is stored, and what is lost on the way is published again
by the reaper. With late acknowledgement on Redis, a run longer than the visibility
timeout, or one dropped connection, would start a run twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from celery import Celery
from kombu import Exchange, Queue

from runtime.queue import rabbitmq, redis
from runtime.queue.messages import queue_prefix
from runtime.settings import Settings, current
from runtime.stream.address import is_redis, kombu_url, tls_options

_EXCHANGE = Exchange("", type="direct", durable=True)
"""The broker's own, which knows each queue by its name: so there is no binding that could be lost."""
_HEARTBEAT = 10
"""Seconds; a RabbitMQ that is silent for twice as long counts as gone."""


@cache
def queue(pool: str, installation: str = "", quorum: bool = False, **options: Any) -> Queue:
    """The queue that a pool of an installation consumes; ``quorum``: of that type in RabbitMQ."""
    if quorum:
        options["queue_arguments"] = {"x-queue-type": "quorum"}
    name = f"{queue_prefix(installation)}{pool}"
    return Queue(name, _EXCHANGE, routing_key=name, durable=True, **options)


def make_celery(settings: Settings, pools: Iterable[str] = ()) -> Celery:
    """Celery as this project uses it; ``pools`` are those this process consumes or shows."""
    broker = kombu_url(settings.broker_url)
    app = Celery("branchline", broker=broker, set_as_current=False)
    installation = app.installation = settings.service.branchline_installation
    quorum = app.quorum = settings.rabbitmq.quorum_queues
    on_redis = app.on_redis = is_redis(settings.broker_url)
    if on_redis:
        redis.register_transport()
    app.conf.update(
        # messages
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        result_backend_thread_safe=True,  # there is no backend, and without this each task would make one
        task_acks_late=False,
        # See runtime.queue.redis.receive.
        task_queues=[queue(pool, installation, quorum, no_ack=on_redis) for pool in pools],
        task_create_missing_queues=False,
        # A pool process receives no more messages than it can start.
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=on_redis,
        worker_enable_prefetch_count_reduction=False,
        # for Flower
        worker_send_task_events=True,
        task_send_sent_event=False,
        **_exchanges(installation),
        # connections
        # Celery prefers CELERY_BROKER_URL to its broker, and its command line, with which Flower
        # starts, puts BROKER_URL there as it is.
        broker_read_url=broker,
        broker_write_url=broker,
        broker_use_ssl=on_redis and tls_options(settings.broker_url),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=settings.redis.connect_timeout,
        broker_heartbeat=_HEARTBEAT,
        # RabbitMQ closes a channel, not the connection, when it refuses something about a queue.
        broker_channel_error_retry=True,
        broker_pool_limit=8,
        broker_pool_acquire_timeout=settings.redis.timeout,
        broker_transport_options=(redis if on_redis else rabbitmq).transport_options(settings),
        # This concerns late acknowledgement only; unset, Celery warns at each lost connection.
        worker_cancel_long_running_tasks_on_connection_loss=True,
        # logging and time
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        enable_utc=True,
    )
    return app


def _exchanges(installation: str) -> dict[str, str]:
    """Where Flower and the pools of an installation hear of each other."""
    if not installation:
        return {}
    control, events = f"{installation}.celery", f"{installation}.celeryev"
    return {"control_exchange": control, "event_exchange": events, "event_queue_prefix": events}


def __getattr__(name: str) -> Any:
    """``app``, which ``celery -A runtime.queue.app`` asks for: with the queue of every worker."""
    if name != "app":
        raise AttributeError(name)
    from runtime.registry import discover

    settings = current()
    workers = discover(settings.worker_folders).workers.values()
    globals()["app"] = app = make_celery(settings, sorted({worker.pool for worker in workers}))
    return app
