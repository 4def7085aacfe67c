"""RabbitMQ as the broker: its options, and when a pool process acknowledges a message."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from celery import Celery, bootsteps, signals

from runtime.queue import internals
from runtime.settings import Settings


def transport_options(settings: Settings) -> dict[str, Any]:
    """Celery's ``broker_transport_options``."""
    # In a pool of greenlets Celery ignores broker_connection_timeout, but not this.
    return {"confirm_publish": True, "connect_timeout": settings.redis.connect_timeout}


class AcknowledgeWhenSlotIsFree(bootsteps.StartStopStep):  # type: ignore[misc]
    """RabbitMQ sends a pool process its next message when there is a slot for it.

    RabbitMQ sends one message, and the next when that is acknowledged. So a message is
    acknowledged as soon as its task has started, except the one that filled the last slot:
    that is acknowledged when any slot is free again, and there is room.
    """

    requires = ("celery.worker.consumer.connection:Connection",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._consumer = consumer
        self._postponed: Callable[[], None] | None = None
        internals.prefetch_one(consumer)
        consumer.slots = self
        signals.task_postrun.connect(self._use_slot)

    def start(self, consumer: Any) -> None:
        """A new connection: RabbitMQ sends again what was not acknowledged; its run is claimed already."""
        self._postponed = None

    def acknowledge(self, acknowledge: internals.Acknowledge, *arguments: Any) -> None:
        """Acknowledge the message whose task has just started, now or when a slot is free."""
        if internals.has_free_slot(self._consumer) and self._consumer.app.room.is_set():
            acknowledge(*arguments)
        else:
            self._postponed = partial(acknowledge, *arguments)

    def use_room(self) -> None:
        """There is room again beside Celery's tasks."""
        if internals.has_free_slot(self._consumer):
            self._acknowledge_postponed()

    def _use_slot(self, **_: object) -> None:
        """A task has ended."""
        if self._consumer.app.room.is_set():
            self._acknowledge_postponed()

    def _acknowledge_postponed(self) -> None:
        acknowledge, self._postponed = self._postponed, None
        if acknowledge is not None:
            acknowledge()


def receive(task: Any, app: Celery, consumer: Any) -> Callable[..., Any]:
    """The strategy for received messages: :class:`AcknowledgeWhenSlotIsFree` acknowledges them."""
    return internals.receive(
        task, app, consumer, lambda acknowledge: partial(consumer.slots.acknowledge, acknowledge)
    )
