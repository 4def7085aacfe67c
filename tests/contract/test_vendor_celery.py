"""Celery and kombu still work in the places where this project reaches into them.

runtime.queue.internals and runtime.queue.redis use parts of both that are not documented. A
test that fails here after an upgrade says which part has changed: read the vendor's code,
adapt that module, and raise the bound in setup.cfg.
"""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import celery
import gevent.pool
import kombu
import pytest
from celery import bootsteps
from celery.app import trace
from celery.app.task import Task
from celery.apps import worker
from celery.concurrency.gevent import TaskPool
from celery.events.dispatcher import EventDispatcher
from celery.exceptions import WorkerShutdown
from celery.worker import loops, state, strategy
from celery.worker.consumer import Consumer
from celery.worker.consumer.control import Control
from celery.worker.consumer.tasks import Tasks
from celery.worker.pidbox import gPidbox
from celery.worker.request import Request
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis

from runtime.queue import internals, redis
from runtime.queue.app import make_celery
from runtime.settings import load


@pytest.mark.parametrize(
    ("name", "installed"), [("celery", celery.__version__), ("kombu", kombu.__version__)]
)
def test_the_installed_version_is_one_whose_internals_are_known(name, installed):
    major, minor = (int(part) for part in installed.split(".")[:2])

    assert (5, 6) <= (major, minor) < (5, 8), f"{name} {installed}: read this file before raising the bound"


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (Consumer.connection_for_read, "self.ensure_connected("),
        (Consumer.connection_for_write, "self.ensure_connected("),
        (loops.synloop, "obj.perform_pending_operations"),
        (loops.synloop, "drain_events(timeout=2.0)"),
        (loops.synloop, "obj.create_task_handler()"),
        (Tasks.start, "on_decode_error=c.on_decode_error"),
        (Consumer.start, "self.on_connection_error_after_connected(exc)"),
        (Consumer.start, "self.on_connection_error_before_connected(exc)"),
        (Consumer.start, "recoverable_errors = (self.connection_errors + self.channel_errors)"),
        (Control.__init__, "pidbox.gPidbox"),
        (strategy.default, "symbol_by_name(task.Request)"),
        (Request.on_failure, "'task-failed',"),
        (trace.get_log_policy, "task.throws"),
        (worker._shutdown_handler, "safe_say(f'worker: {how} shutdown"),
        (gPidbox.start, "self.loop"),
        (Tasks.start, "c.initial_prefetch_count"),
        (TaskPool.on_start, "self._pool = self.Pool(self.limit)"),
        (Task.start_strategy, "instantiate(self.Strategy, self, app, consumer"),
        (strategy.default, "def task_message_handler(message, body, ack,"),
        (EventDispatcher.send, "self.buffer_group"),
        (EventDispatcher.send, "self.buffer_limit"),
        (kombu_redis.Channel.conn_or_acquire, "self._create_client()"),
        (kombu_redis.Channel._put, "self.conn_or_acquire("),
        (kombu_redis.Channel._brpop_read, "self.client.parse_response(self.client.connection"),
        (kombu_redis.Channel._brpop_read, "raise Empty()"),
        (kombu_redis.Channel._brpop_start, "self._q_for_pri(queue, pri) for pri in self.priority_steps"),
        (kombu_redis.Channel._brpop_read, "self.connection._deliver("),
        (kombu.message.Message.__init__, "decompress(body, compression)"),
    ],
    ids=lambda value: getattr(value, "__qualname__", value),
)
def test_the_vendor_still_uses_what_is_replaced(where, name):
    source = inspect.getsource(where)

    assert name in source, f"{where.__qualname__} has changed: it no longer contains {name!r}"


def test_a_pool_of_greenlets_can_be_waited_for():
    assert callable(gevent.pool.Pool.wait_available), "gevent.pool.Pool has no wait_available any more"
    assert isinstance(TaskPool.num_processes, property), "a task pool does not say its size any more"


def test_task_events_are_flushed_without_raising_errors_of_their_own():
    assert "errors" in inspect.signature(EventDispatcher.flush).parameters


def test_a_running_worker_is_shut_down_by_an_exception():
    assert issubclass(WorkerShutdown, SystemExit)
    assert callable(state.maybe_shutdown)
    assert isinstance(state.active_requests, set | frozenset) or hasattr(state.active_requests, "__len__")
    assert bootsteps.RUN == 0x1


def test_a_consumer_polls_after_what_is_to_be_done_before():
    order: list[str] = []
    consumer = SimpleNamespace(perform_pending_operations=lambda: order.append("its own"))

    internals.before_each_poll(consumer, lambda: order.append("ours"))
    consumer.perform_pending_operations()

    assert order == ["ours", "its own"]


def test_a_consumer_reports_how_many_tries_to_connect_have_failed():
    reported: list[int] = []

    def ensure_connection(report, *, callback, interval_max):
        assert (callback, interval_max) == (state.maybe_shutdown, 1.0)
        for _ in range(3):
            report(OSError(), 0.2)
        return "connected"

    consumer = SimpleNamespace()
    internals.reconnect_with(consumer, lambda error, failures: reported.append(failures), interval_max=1.0)
    connection = SimpleNamespace(ensure_connection=ensure_connection)

    assert [consumer.ensure_connected(connection) for _ in range(2)] == ["connected"] * 2
    assert reported == [1, 2, 3] * 2
    # ensure_connection passes its arguments on to this one, which names them.
    parameters = inspect.signature(kombu.Connection._ensure_connection).parameters
    assert {"errback", "callback", "interval_start", "interval_step", "interval_max"} <= set(parameters)


def test_a_channel_on_redis_keeps_its_client(redis_url):
    with make_celery(load({"REDIS_URL": redis_url})) as app, app.connection_for_write() as connection:
        channel = connection.channel()
        assert type(channel) is redis.Channel, f"kombu has chosen {type(channel)}, not ours"
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second
            assert first.ping()
    assert {"redis", "rediss"} <= set(TRANSPORT_ALIASES)
