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
from gevent.event import Event

from runtime.duties import Duty
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
_AWAY_PAUSE = 0.1
"""Seconds until a lost connection is made again. Celery would try at once, and without end."""
_WORKER = "branchline_worker"
"""The attribute of Celery's app that holds the :class:`QueueWorker`, for the steps of its consumer."""
_MAX_BUFFERED_EVENTS = 500
"""Task events are sent when so many have gathered, or when :meth:`QueueWorker.send_events` is called."""


class QueueWorker:
    """Celery's worker in this process. It must be made in the main greenlet."""

    def __init__(self, app: Celery, pool: str, slots: int, name: str, give_up: Callable[[str], None]) -> None:
        """``slots``: how many messages are handled at once. ``name`` is what Flower shows.

        ``give_up`` is called with the name of its duty where the queue cannot be consumed, and
        ends the process. A broker that is away or refuses is waited for.
        """
        self._app = app
        self._pool = pool
        self._slots = slots
        self._name = name
        self._main: Any = gevent.getcurrent()
        self._consumer: Any = None
        self._give_up = give_up
        self._duty = Duty("consume the queue")
        self._room = app.room = Event()
        """Set while a message may be received, as far as it depends on others than Celery's tasks."""
        self._room.set()
        self.refusal: str | None = None
        """Why the broker refuses the queue; None where it does not."""

    def run(self, handle: Callable[[str], str | None], on_stop: Callable[..., None]) -> None:
        """Call ``handle`` with the run id of each message, until the worker is stopped.

        It returns how the run has failed, if it has: so has the task then, for Flower.
        ``on_stop`` is called in a signal handler, when Celery gets SIGTERM: it may not wait.
        """
        self._configure()

        def execute(run_id: str) -> None:
            if failure := handle(run_id):
                raise internals.RunFailed(failure)

        self._app.task(execute, name=TASK, bind=False, throws=(internals.RunFailed,))
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

    def set_room(self, has_room: bool) -> None:
        """Receive no message for as long as there is no room, although Celery's pool has a free greenlet."""
        if not has_room:
            self._room.clear()
            return
        self._room.set()
        if self._consumer is not None and not self._app.on_redis:
            self._consumer.slots.use_room()

    def consumes(self) -> None:
        """The queue is consumed: the broker was asked for a message, and has answered."""
        self.refusal = None
        self._duty.succeeded()

    def failed(self, error: Exception) -> None:
        """Note an error of the consumer, and wait until it may begin anew."""
        if self.note_refusal(error):
            gevent.sleep(_REFUSED_PAUSE)
        elif is_away(error):
            gevent.sleep(_AWAY_PAUSE)
        else:
            pause = self._duty.failed()
            if self._duty.hopeless:
                self._give_up(self._duty.name)
            gevent.sleep(pause)

    def note_refusal(self, error: Exception) -> bool:
        """Keep what the broker says, if this is a refusal, until the queue is consumed."""
        refusal = refusal_of(error)
        if refusal is None:
            return False
        log.error("the broker refuses the queue: %s", refusal)
        self.refusal = refusal
        return True

    def _configure(self) -> None:
        setattr(self._app, _WORKER, self)
        steps = self._app.steps["consumer"]
        steps.add(_ReconnectSoon)
        steps.add(_OnlyOurMessages)
        steps.add(_BeginAnew)
        refuse_compressed()
        internals.keep_remote_control()
        internals.print_nothing()
        self._app.Task.Request = internals.Request
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
        self._worker: QueueWorker = getattr(consumer.app, _WORKER)
        internals.reconnect_with(consumer, self._note, **_RECONNECT_PAUSES)

    def _note(self, error: Exception, failures: int) -> None:
        if not self._worker.note_refusal(error) and failures == 1:
            log.warning("the broker is away (%s); trying to reach it until it is back", error)


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


class _BeginAnew(bootsteps.StartStopStep):  # type: ignore[misc]
    """Has the consumer begin anew after any error, and its worker know of it."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._worker: QueueWorker = getattr(consumer.app, _WORKER)
        self._polls = 0
        internals.begin_anew_after_errors(consumer, self._worker.failed)
        internals.before_each_poll(consumer, self._count_poll)

    def start(self, consumer: Any) -> None:
        """The queue is about to be consumed."""
        self._worker.refusal = None
        self._polls = 0

    def _count_poll(self) -> None:
        self._polls += 1
        if self._polls == 2:  # the first one has not failed
            self._worker.consumes()
