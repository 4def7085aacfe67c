"""Internals of Celery's worker: what this project needs of it and Celery offers no public way to.

Each function does one thing, and nothing else in the project touches these parts of
Celery. setup.cfg bounds the version, and tests/contract/test_vendor_celery.py fails when
an upgrade changes what is used here. ``consumer`` is a ``celery.worker.consumer.Consumer``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count
from typing import Any

import gevent
from celery import Celery
from celery.apps import worker
from celery.bootsteps import RUN
from celery.exceptions import WorkerShutdown
from celery.worker import pidbox, request, state, strategy

log = logging.getLogger(__name__)

Acknowledge = Callable[..., None]


def reconnect_with(consumer: Any, on_error: Callable[[Exception, int], None], **pauses: float) -> None:
    """Have the consumer try to reach its broker with these pauses between two tries.

    ``on_error`` is called after each try that failed, with the error and how many have failed in a row.
    """

    def connect(connection: Any) -> Any:
        failures = count(1)

        def report(error: Exception, _: float) -> None:
            on_error(error, next(failures))

        return connection.ensure_connection(report, callback=state.maybe_shutdown, **pauses)

    consumer.ensure_connected = connect


def before_each_poll(consumer: Any, prepare: Callable[[], None]) -> None:
    """Call ``prepare`` each time before the consumer asks its broker for a message."""
    celerys_own = consumer.perform_pending_operations

    def prepare_and_continue() -> None:
        prepare()
        celerys_own()

    consumer.perform_pending_operations = prepare_and_continue


def refuse_messages(consumer: Any, is_accepted: Callable[[Any], bool], refuse: Callable[[Any], None]) -> None:
    """Give Celery only the messages of which ``is_accepted`` is true; call ``refuse`` with any other."""
    celerys_own = consumer.create_task_handler

    def make_handler(*more: Any, **options: Any) -> Callable[[Any], Any]:
        handle = celerys_own(*more, **options)
        return lambda message: (handle if is_accepted(message) else refuse)(message)

    consumer.create_task_handler = make_handler
    consumer.on_decode_error = lambda message, error: refuse(message)


def begin_anew_after_errors(consumer: Any, handle: Callable[[Exception], None]) -> None:
    """Have the consumer begin anew after any error, once ``handle`` has returned, which may wait.

    Celery alone does so only after those errors of a broker that it knows; all others end the worker.
    """
    consumer.connection_errors = (Exception,)
    celerys_own = consumer.on_connection_error_after_connected

    def handle_both(error: Exception) -> None:
        celerys_own(error)
        handle(error)

    consumer.on_connection_error_after_connected = handle_both
    consumer.on_connection_error_before_connected = handle


class RemoteControl(pidbox.gPidbox):  # type: ignore[misc]
    """Celery's remote control, for Flower, which begins anew after an error.

    Celery's own ends in a traceback, and is gone until the consumer loses its connection.
    """

    _PAUSE = 1.0
    _starts = 0

    def start(self, consumer: Any) -> None:
        """The consumer has a connection."""
        self._starts += 1
        super().start(consumer)

    def loop(self, consumer: Any) -> None:
        """Answer until the consumer begins anew, or stops."""
        start = self._starts
        while start == self._starts and consumer.connection:
            try:
                super().loop(consumer)
                return
            except Exception as error:
                log.warning("remote control begins anew: %s", error)
                gevent.sleep(self._PAUSE)


def keep_remote_control() -> None:
    """Have the consumers of this process use :class:`RemoteControl`."""
    pidbox.gPidbox = RemoteControl


def print_nothing() -> None:
    """Have the worker say nothing past the log, as it does of a shutdown."""
    worker.safe_say = lambda *_: None


class RunFailed(Exception):
    """Has Celery send Flower the event of a task that failed. The run itself has ended already."""


class Request(request.Request):  # type: ignore[misc]
    """A task that is executed; where its run has failed, Flower is not shown where that was raised here."""

    def send_event(self, type: str, **fields: Any) -> None:
        """Send an event."""
        if fields.get("exception", "").startswith(RunFailed.__name__):
            fields["traceback"] = ""
        super().send_event(type, **fields)


def wait_for_slot(consumer: Any) -> None:
    """Wait until a greenlet of the consumer's pool is free."""
    consumer.pool._pool.wait_available()


def has_free_slot(consumer: Any) -> bool:
    """Whether fewer tasks are executed than the consumer's pool has greenlets."""
    return len(state.active_requests) < int(consumer.pool.num_processes)


def prefetch_one(consumer: Any) -> None:
    """Have the broker send one message at a time, until that is acknowledged."""
    consumer.initial_prefetch_count = 1


def receive(
    task: Any, app: Celery, consumer: Any, wrap: Callable[[Acknowledge], Acknowledge]
) -> Callable[..., Any]:
    """Celery's own strategy for received messages, with ``wrap`` around their acknowledgement."""
    start = strategy.default(task, app, consumer)

    def start_message(message: Any, body: Any, acknowledge: Acknowledge, *more: Any) -> Any:
        return start(message, body, wrap(acknowledge), *more)

    return start_message


def buffer_task_events(consumer: Any, limit: int) -> None:
    """Gather task events until there are ``limit`` of them or :func:`flush_task_events` is called.

    Celery gathers them only in its event loop for asynchronous transports. Here each would be
    sent by itself, three for every run.
    """
    if consumer.event_dispatcher is not None:
        consumer.event_dispatcher.buffer_group = frozenset({"task"})
        consumer.event_dispatcher.buffer_limit = limit


def flush_task_events(consumer: Any) -> None:
    """Send the gathered task events. Raises an error of the broker's client."""
    if consumer.event_dispatcher is not None:
        consumer.event_dispatcher.flush(errors=False)


def is_running(consumer: Any) -> bool:
    """Whether the consumer has started and has not begun to stop."""
    return bool(consumer.blueprint.state == RUN)


def shut_down(main: Any) -> None:
    """Have the worker that runs in the greenlet ``main`` shut down now.

    It would see ``state.should_stop`` only when two seconds have passed without a message.
    """
    gevent.get_hub().loop.run_callback(main.throw, WorkerShutdown(0))
