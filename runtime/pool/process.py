"""A pool process: a Celery worker with green threads that supervises children.

It reports itself, keeps its leases, listens for cancellations, and at SIGTERM
drains: it claims nothing more, lets its runs finish for a while, and hands back
what has not, so that it goes on elsewhere; SIGUSR2 ends that while. ``runtime.pool.guardian`` starts it, as
``python -m runtime.pool.process NAME SLOTS INCARNATION``.
"""

# ruff: noqa: E402 - nothing may be imported before gevent has patched it
from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import logging
import os
import signal
import sys
import time
import warnings
from contextlib import suppress
from typing import Any

import gevent
from celery import signals
from celery.bootsteps import RUN
from celery.exceptions import SecurityWarning, WorkerShutdown
from gevent.event import Event

from runtime.child import Children
from runtime.errors import ChildFailed, StoreUnavailable
from runtime.logs import configure
from runtime.pool.announced import AnnouncedEnds
from runtime.pool.attempt import StopReason
from runtime.pool.executor import Executor
from runtime.pool.isolation import IsolatedProcesses
from runtime.pool.leases import Leases
from runtime.queue.app import TASK, make_celery
from runtime.registry import Worker
from runtime.services import Services
from runtime.settings import Settings, current
from runtime.store import pools

log = logging.getLogger(__name__)

_GATHER = 0.02
_GATHER_QUIETLY = 0.1
"""Seconds in which ends and claims gather before one look at the backlog serves them all;
more of them while nothing waits there, for what is published by then keeps the slots busy."""
_EVENTS = 500
_SEND_EVENTS = 0.5
"""Task events are sent when so many have gathered, or after so many seconds."""
_PATIENCE = 0.5
"""Seconds between two tries to renew the leases while the database is away."""
_WATCH = 0.2
"""Seconds between two looks for leases that are about to end."""
_FAREWELL = 2.0
"""Seconds that Celery may take to part from its broker, once no run is left here."""
_NOTE_ANNOUNCED = 0.5
"""Seconds between two notes of what was announced."""


class PoolProcess:
    """What runs beside Celery in a pool process."""

    def __init__(
        self, settings: Settings, name: str, slots: int, incarnation: str, with_isolation: bool = True
    ) -> None:
        """``with_isolation``: whether it executes in cells what needs one; a cell itself has none."""
        self.settings = settings
        self.name = name
        self.slots = slots
        self.incarnation = incarnation
        self.celery = make_celery(settings, [name])
        self.services = Services(settings, self.celery)
        self.children = Children(settings)
        self.leases = Leases(self.services.database, incarnation, settings.pool.lease)
        self.announced = AnnouncedEnds(self.services.database)
        self._room = Event()
        self._look = Event()
        self._main: Any = gevent.getcurrent()
        self._consumer: Any = None
        self._drain_until = float("inf")
        isolated = IsolatedProcesses(
            self.services.database, name, incarnation, settings.pool.isolated_processes
        )
        self.isolated = isolated if with_isolation else None
        self.executor = Executor(
            self.services,
            self.children,
            self.leases,
            self.announced,
            incarnation,
            self._room.set,
            self.isolated,
        )

    def run(self) -> None:
        """Consume the pool's queue until told to stop."""
        self.celery.task(self.executor.execute, name=TASK, bind=False)
        self._report()
        for duty in (
            self._keep_leases,
            self._watch_leases,
            self._listen,
            self._publish,
            self._note_announced,
            self._warm,
            self._send_events,
        ):
            gevent.spawn(duty)
        signals.worker_ready.connect(self._note_consumer)
        signals.worker_shutting_down.connect(self._drain_soon)
        gevent.signal_handler(signal.SIGUSR2, self._hurry)
        self._room.set()
        try:
            self.celery.worker_main(self._celery_arguments())
        finally:
            self.announced.mark()
            self.children.close()

    def workers(self) -> list[Worker]:
        """The workers that this pool runs."""
        return [w for w in self.services.registry.workers.values() if w.pool == self.name]

    def _celery_arguments(self) -> list[str]:
        return [
            "--quiet",
            "worker",
            "--pool=gevent",
            f"--concurrency={self.slots}",
            f"--queues=runs.{self.name}",
            f"--hostname={self.incarnation}",
            "--without-gossip",
            "--without-mingle",
            "--task-events",
            "--loglevel=WARNING",
        ]

    def _report(self) -> None:
        workers = {
            worker.id: {
                "digest": worker.digest,
                "reason": worker.unavailable(os.environ),
                "max_running": worker.max_running,
            }
            for worker in self.workers()
        }
        try:
            self.services.database.write(pools.report, self.name, self.incarnation, self.slots, workers)
        except StoreUnavailable:
            log.warning("the database is away; this pool could not report itself")

    def _keep_leases(self) -> None:
        pause = self.settings.pool.renew
        while True:
            began = time.monotonic()
            renewed = self.leases.renew()
            if renewed and not self.executor.draining:
                self._report()
            self._look.wait(max(0.05, pause - (time.monotonic() - began)) if renewed else _PATIENCE)
            self._look.clear()

    def _watch_leases(self) -> None:
        while True:
            gevent.sleep(_WATCH)
            self.leases.stop_expiring()

    def _listen(self) -> None:
        """Obey what other processes tell this one."""
        for notice in self.services.notices.pool_messages(self.incarnation):
            match notice:
                case {"type": "cancel", "run_id": run_id}:
                    self.leases.cancel(run_id)
                case {"type": "inbox", "run_id": run_id}:
                    self.executor.read_inbox(run_id)
                case {"type": "connected"}:  # what was said meanwhile was not heard
                    self.executor.read_inboxes()
                    self._look.set()

    def _publish(self) -> None:
        """Publish what there is room for, once however many runs have made room."""
        published = 0
        while True:
            self._room.wait()
            gevent.sleep(_GATHER if published else _GATHER_QUIETLY)
            self._room.clear()
            try:
                published = self.services.backlog.publish_after(self.name)
            except StoreUnavailable:
                log.warning("the database is away; the reaper publishes what waits")
                gevent.sleep(1)

    def _note_announced(self) -> None:
        while True:
            gevent.sleep(_NOTE_ANNOUNCED)
            self.announced.mark()

    def _warm(self) -> None:
        """Have the hosts of python workers import them before the first run."""
        for worker in self.workers():
            if worker.unavailable(os.environ) is None:
                try:
                    self.children.warm(worker)
                except ChildFailed as error:
                    log.warning("worker %s could not be warmed; its runs will say why: %s", worker.id, error)

    def _note_consumer(self, sender: Any, **_: object) -> None:
        self._consumer = sender
        # A Ctrl-C goes to the guardian as well, which tells us what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if sender.event_dispatcher is not None:
            # Celery gathers task events only in its own event loop; here each would be a
            # message of its own, three for every run.
            sender.event_dispatcher.buffer_group = frozenset({"task"})
            sender.event_dispatcher.buffer_limit = _EVENTS

    def _send_events(self) -> None:
        """Send the gathered task events to Flower."""
        while True:
            gevent.sleep(_SEND_EVENTS)
            if self._consumer is not None and self._consumer.event_dispatcher is not None:
                try:
                    self._consumer.event_dispatcher.flush(errors=False)
                except self.celery.connection_for_write().recoverable_connection_errors:
                    log.debug("task events could not be sent; they are for display only")

    def _drain_soon(self, **_: object) -> None:
        """Called in a signal handler: nothing here may wait."""
        if not self.executor.draining:
            self.executor.draining = True
            self._drain_until = time.monotonic() + self.settings.pool.drain
            gevent.spawn(self._drain)

    def _hurry(self) -> None:
        """Hand the runs back now."""
        self._drain_soon()
        self._drain_until = time.monotonic()
        self._signal_isolated(signal.SIGUSR2)

    def _signal_isolated(self, number: int) -> None:
        if self.isolated is not None:
            self.isolated.signal(number)

    def _withdraw(self) -> None:
        try:
            self.services.database.write(pools.withdraw, self.incarnation)
        except StoreUnavailable:
            pass  # it will be noticed by its silence

    def _drain(self) -> None:
        self._signal_isolated(signal.SIGTERM)
        log.info("draining: %d runs have %g s to finish", len(self.leases), self.settings.pool.drain)
        gevent.spawn(self._withdraw)
        while self.executor.executing and time.monotonic() < self._drain_until:
            gevent.sleep(0.05)
        until = time.monotonic() + self.settings.pool.lease  # after which nothing here is ours any more
        while self.executor.executing and time.monotonic() < until:
            self.leases.stop_all(StopReason.DRAIN)
            gevent.sleep(0.05)
        with suppress(StoreUnavailable):  # the reaper publishes them a second later
            self.services.backlog.publish_next(self.name)
        if self._consumer is not None and self._consumer.blueprint.state == RUN:
            # Celery looks every two seconds whether it is to stop; there is nothing to wait for.
            gevent.get_hub().loop.run_callback(self._main.throw, WorkerShutdown(0))
        # Where the broker is away Celery would try to reach it for as long as we let it.
        gevent.sleep(_FAREWELL)
        os._exit(0)


def main(arguments: list[str]) -> None:
    """Run a pool process; the arguments are its pool, slots and incarnation."""
    name, slots, incarnation = arguments
    settings = current()
    configure(settings)
    # As root it would warn that pickled messages run as root; ours are JSON.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    PoolProcess(settings, name, int(slots), incarnation).run()


if __name__ == "__main__":
    main(sys.argv[1:])
