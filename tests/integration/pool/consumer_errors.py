"""Consume a queue although the broker's client raises errors.

Celery's worker wants a process, so this is one, which test_consumer_errors.py runs. It prints a
line for each class of errors: what was received after it. Then the client raises without end.
"""

# ruff: noqa: E402 - nothing may be imported before gevent has patched it
from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import os
import sys

import gevent
import kombu
from celery.worker.consumer import consumer
from gevent.queue import Queue

from runtime import duties
from runtime.model import new_id
from runtime.queue import worker as worker_module
from runtime.queue.app import make_celery
from runtime.queue.publisher import publish
from runtime.queue.worker import QueueWorker
from runtime.settings import load
from runtime.store.backlog import Ticket
from runtime.testing.waiting import until
from tests.support.failures import broker_errors, instance

POOL, WITHIN = "python", 20.0


def main(url: str) -> None:
    """Consume the queue of a pool there."""
    duties._PAUSES = (0.001,) * 5
    duties._LONGEST_PAUSE = 0.001
    worker_module._REFUSED_PAUSE = worker_module._AWAY_PAUSE = 0.001
    consumer.sleep = lambda _: gevent.sleep(0.001)  # Celery's, after five errors within a second
    app = make_celery(load({"REDIS_URL": url}), [POOL])
    worker = QueueWorker(app, POOL, 2, "a worker of a test", give_up)
    received: Queue[str] = Queue()
    gevent.spawn(inject, url, received)
    worker.run(received.put, lambda **_: None)


def inject(url: str, received: Queue[str]) -> None:
    """Raise each error once where the consumer waits for a message, and see that the next one arrives."""
    pending: list[Exception] = []
    drain = kombu.Connection.drain_events

    def drain_or_fail(connection: kombu.Connection, **more: float) -> object:
        if pending:
            raise pending.pop()
        return drain(connection, **more)

    kombu.Connection.drain_events = drain_or_fail
    app = make_celery(load({"REDIS_URL": url}))
    for kind in broker_errors():
        pending.append(instance(kind))
        run_id = new_id()
        publish(app, Ticket(run_id, POOL, "echo", 1))
        found = received.get(timeout=WITHIN)
        print(f"{kind.__module__}.{kind.__name__}", "ok" if found == run_id else found, flush=True)
        until(lambda: not pending, what="it was raised")

    def fail(*_: object, **__: object) -> None:
        raise ValueError("whatever is asked")

    kombu.Connection.drain_events = fail


def give_up(duty: str) -> None:
    """End, as a pool process does."""
    print(f"given up: {duty}", flush=True)
    os._exit(duties.EXIT_CODE)


if __name__ == "__main__":
    main(sys.argv[1])
