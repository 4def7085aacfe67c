"""The Celery worker of a pool process, which consumes the queue of its pool.

A pool process receives no message that it has no slot for, so that another process of its
pool can, and receives the next one at once when a slot becomes free. Celery has no setting for
that which suits both brokers: see :class:`runtime.queue.redis.PollWhenSlotIsFree` and
:class:`runtime.queue.rabbitmq.AcknowledgeWhenSlotIsFree`.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import Any

import gevent
from celery import Celery, bootsteps, signals

from runtime.queue import internals, rabbitmq, redis
from runtime.queue.app import queue
from runtime.queue.failures import is_away
from runtime.queue.messages import TASK, dropped, is_ours, refuse_compressed
from runtime.queue.refusal import refusal_of

log = logging.getLogger(__name__)

_RECONNECT_PAUSES = {"interval_start": 0.2, "interval_step": 0.2, "interval_max": 1.0}
"""Seconds between two tries to reach a broker that is away."""
_REFUSED_PAUSE = 1.0
"""Seconds until a queue that the broker has refused is asked for again."""
_REFUSAL = "branchline_refusal"
"""The attribute of Celery's app that holds :attr:`QueueWorker.refusal`, for the steps of its consumer."""
_MAX_BUFFERED_EVENTS = 500
"""Task events are sent when so many have gathered, or when :meth:`QueueWorker.send_events` is called."""


class QueueWorker:
    """Celery's worker in this process. It must be made in the main greenlet."""

    def __init__(self, app: Celery, pool: str, slots: int, name: str) -> None:
        """``slots``: how many messages are handled at once. ``name`` is what Flower shows."""
        self._app = app
        self._pool = pool
        self._slots = slots
        self._name = name
        self._main: Any = gevent.getcurrent()
        self._consumer: Any = None

    def run(self, handle: Callable[[str], None], on_stop: Callable[..., None]) -> None:
        """Call ``handle`` with the run id of each message, until the worker is stopped.

        ``on_stop`` is called in a signal handler, when Celery gets SIGTERM: it may not wait.
        """
        self._configure()
        self._app.task(handle, name=TASK, bind=False)
        signals.worker_ready.connect(self._on_ready)
        signals.worker_shutting_down.connect(on_stop)
        # Not by Celery's command line, which imports all of its commands.
        self._app.Worker(
            pool="gevent",
            concurrency=self._slots,
            queues=[queue(self._pool, self._app.installation).name],
            hostname=self._name,
            without_gossip=True,
            without_mingle=True,
            task_events=True,
            loglevel=logging.WARNING,
            quiet=True,
        ).start()

    @property
    def dropped(self) -> int:
        """How many messages were dropped because they were none of ours."""
        return dropped.count

    @property
    def refusal(self) -> str | None:
        """Why the broker refuses the queue; None where it does not."""
        return getattr(self._app, _REFUSAL, None)

    def send_events(self) -> None:
        """Send the gathered task events to Flower."""
        if self._consumer is None:
            return
        try:
            internals.flush_task_events(self._consumer)
        except Exception as error:
            if not is_away(error):
                raise
            log.debug("task events could not be sent; they are for display only")

    def stop(self) -> None:
        """End :meth:`run` soon, if it has started to consume."""
        if self._consumer is not None and internals.is_running(self._consumer):
            internals.shut_down(self._main)

    def _configure(self) -> None:
        steps = self._app.steps["consumer"]
        steps.add(_ReconnectSoon)
        steps.add(_OnlyOurMessages)
        steps.add(_NoteRefusal)
        refuse_compressed()
        if self._app.on_redis:
            steps.add(redis.PollWhenSlotIsFree)
            self._app.Task.Strategy = staticmethod(redis.receive)
        else:
            steps.add(rabbitmq.AcknowledgeWhenSlotIsFree)
            self._app.Task.Strategy = staticmethod(rabbitmq.receive)

    def _on_ready(self, sender: Any, **_: object) -> None:
        self._consumer = sender
        # Ctrl-C reaches the guardian as well, which decides what it means for this process.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        internals.buffer_task_events(sender, _MAX_BUFFERED_EVENTS)


class _ReconnectSoon(bootsteps.Step):  # type: ignore[misc]
    """A pool process that has lost its broker tries to reach it again about once a second.

    With Celery's own pauses, one whose broker was away for some minutes would wait up to half a
    minute longer than that.
    """

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        internals.reconnect_with(consumer, _log_first_failure, **_RECONNECT_PAUSES)


class _OnlyOurMessages(bootsteps.Step):  # type: ignore[misc]
    """Drops and counts what is no message of ours, on either broker."""

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._consumer = consumer
        internals.refuse_messages(consumer, is_ours, self._drop)

    def _drop(self, message: Any) -> None:
        dropped.add()
        if not self._consumer.app.on_redis:
            message.ack_log_error(log, self._consumer.connection_errors)


class _NoteRefusal(bootsteps.StartStopStep):  # type: ignore[misc]
    """Keeps why the broker refuses the queue of this pool, until it is consumed."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._app = consumer.app
        internals.when_disconnected(consumer, self._note)

    def start(self, consumer: Any) -> None:
        """The queue is consumed now."""
        setattr(self._app, _REFUSAL, None)

    def _note(self, error: Exception) -> None:
        refusal = refusal_of(error)
        if refusal is not None:
            if getattr(self._app, _REFUSAL, None) != refusal:
                log.error("the broker refuses the queue: %s", refusal)
            setattr(self._app, _REFUSAL, refusal)
            gevent.sleep(_REFUSED_PAUSE)  # Celery would try again at once, and without end


def _log_first_failure(error: Exception, failures: int) -> None:
    if failures == 1:
        log.warning("the broker is away (%s); trying to reach it until it is back", error)
