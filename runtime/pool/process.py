"""A pool process: a Celery worker with greenlets that supervises children.

Beside the worker it does what :meth:`PoolProcess.duties` lists, each in a greenlet. At SIGTERM
it drains (:mod:`runtime.pool.drain`); SIGUSR2 cuts the drain short.
``runtime.pool.guardian`` starts it, as ``python -m runtime.pool.process NAME SLOTS INCARNATION HEARTBEAT``.
"""

# ruff: noqa: E402 - nothing may be imported before gevent has patched it
from __future__ import annotations

from runtime.system import collector, greenlets

collector.pause()

from gevent import monkey

with greenlets.plugins_read_once():
    monkey.patch_all()

import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress

import gevent
from celery.exceptions import SecurityWarning
from gevent.event import Event

from runtime.child import Children
from runtime.child.remote_child import RemoteMachines
from runtime.duties import EXIT_CODE, Body, Duties, every
from runtime.errors import ConfigurationError, StoreUnavailable, StreamUnavailable
from runtime.guardian.heartbeat import start_beating
from runtime.logs import configure
from runtime.outboxes import outbox_of
from runtime.pool.announced import AnnouncedEnds
from runtime.pool.drain import Drain
from runtime.pool.executor import Executor
from runtime.pool.isolation import IsolatedProcesses
from runtime.pool.leases import Leases
from runtime.pool.registration import Registration
from runtime.pool.workers import PoolWorkers
from runtime.queue.app import make_celery
from runtime.queue.worker import QueueWorker
from runtime.registry import WorkerType
from runtime.services import Services
from runtime.settings import Settings, current
from runtime.stream import Hub
from runtime.system import processes

log = logging.getLogger(__name__)

_GATHER = 0.02
_GATHER_IDLE = 0.1
"""Seconds in which ends and claims gather before the backlog is read once for all of them.
The longer one applies while nothing waits there: what is published by then keeps the slots busy."""
_SEND_EVENTS = 0.5
"""Seconds between two times at which task events are sent."""
_RENEW_RETRY = 0.5
"""Seconds between two tries to renew the leases while the database is away."""
_MIN_RENEW_PAUSE = 0.05
_WATCH = 0.2
"""Seconds between two checks for leases that are about to end."""
_DISCONNECT = 2.0
"""Seconds that Celery may take to disconnect from its broker, once no run is left here."""
_CLEAN_UP = 5.0
"""Seconds that hosts may take to end, and the folder of this process to be removed."""
_MARK_ANNOUNCED = 0.5
"""Seconds between two times at which announced ends are marked in the database."""
_LOOK_SHARE = 0.02
"""Of the processor, looks at the folders of workers may take this part; large ones are looked at rarely."""
_CHOICES_PAUSE = 2.0
"""Seconds between two looks whether a worker is to be asked what may be chosen in its config."""
_LOOK_FOR_MACHINES = 1.0
"""Seconds between two looks whether machines elsewhere offer to execute runs."""
_IDLE = 5.0
"""Seconds after which a duty that has nothing to do says that it is there."""


class PoolProcess:
    """Executes the runs of one pool."""

    def __init__(
        self, settings: Settings, name: str, slots: int, incarnation: str, with_isolation: bool = True
    ) -> None:
        """``with_isolation``: whether runs that need a process of their own get one; not in such a one."""
        self.settings = settings
        self.name = name
        self.incarnation = incarnation
        celery = make_celery(settings, [name])
        self._renew_now = Event()
        self._warmed = False
        self.services = services = Services(settings, celery)
        database = services.database
        self._duties = Duties(self._give_up)
        self.worker = QueueWorker(celery, name, slots, incarnation, self._give_up)
        machines = None
        if any(
            worker.type is WorkerType.REMOTE
            for worker in services.registry.workers.values()
            if worker.pool == name
        ):
            machines = RemoteMachines(services.offers, name, settings.pool.lease)
            with_isolation = False  # no run of theirs can harm this process
        self._has_machines = machines is not None
        self._machines_ask = Event()
        self.children = Children(settings, machines=machines)
        self.workers = PoolWorkers(name, settings.worker_folders, self.children, self._report_soon)
        self.registration = Registration(
            database,
            name,
            incarnation,
            settings.pool.lease,
            slots,
            self.workers,
            self.worker,
            self._duties.ages,
        )
        self.leases = Leases(database, incarnation, settings.pool.lease)
        self.announced = AnnouncedEnds(database)
        isolated = (
            IsolatedProcesses(database, self.workers, name, incarnation, settings.pool)
            if with_isolation
            else None
        )
        self._capacity_changed = Event()
        outbox_of(services).take_own()
        self._exit_code = 0
        self._calls_wait = Event()
        self.executor = Executor(
            services,
            self.workers,
            self.children,
            self.leases,
            self.announced,
            name,
            incarnation,
            slots,
            Hub(services.log, services.link, settings.stream, self._duties),
            self._change_capacity,
            isolated,
            self.worker.set_room,
            machines,
        )
        self.drain = Drain(
            settings.pool,
            self.executor,
            self.leases,
            isolated,
            self.registration.withdraw,
            self._exit_drained,
        )

    def duties(self) -> Mapping[str, Body]:
        """What this process does beside executing runs, and cannot do without."""
        return {
            "renew leases": self._renew_leases,
            "watch leases": every(_WATCH, self.leases.stop_expiring),
            "receive notices": self._listen,
            "publish the backlog": self._publish,
            "take sub-runs": self._take_calls,
            "look after sub-runs": every(self.settings.pool.renew, self.executor.look_after_calls),
            "mark announced ends": every(_MARK_ANNOUNCED, self.announced.mark),
        }

    def run(self) -> None:
        """Consume the pool's queue until the process is stopped."""
        self.workers.load()
        self.registration.report()
        self._start_duties()
        self._duties.start("take up workers", self._take_up_workers, essential=False)
        self._duties.start("ask for choices", self._ask_for_choices, essential=False)
        self._duties.start("send task events", every(_SEND_EVENTS, self.worker.send_events), essential=False)
        gevent.signal_handler(signal.SIGUSR2, self.drain.hurry)
        try:
            self.worker.run(self.executor.execute, on_stop=self.drain.start)
        finally:
            self._close()

    def _start_duties(self) -> None:
        if self._has_machines:
            self._duties.start("look for machines", self._look_for_machines)
        for name, body in self.duties().items():
            self._duties.start(name, body)

    def _give_up(self, duty: str) -> None:
        """End this process, which cannot do one of its duties; its guardian starts another.

        It drains, so that its runs need not suffer for it, but not without end.
        """
        self._exit_code = EXIT_CODE
        gevent.spawn_later(self.settings.pool.drain + self.settings.pool.lease, os._exit, EXIT_CODE)
        self.drain.start()

    def _close(self) -> None:
        self.announced.mark()
        self.children.close()

    def _change_capacity(self) -> None:
        self._capacity_changed.set()
        if self.executor.left_calls:
            self._calls_wait.set()

    # ── duties ──────────────────────────────────────────────────────────────

    def _renew_leases(self) -> Iterator[None]:
        """Renew the leases and report this process, again and again."""
        while True:
            began = time.monotonic()
            renewed = self.leases.renew()
            if renewed and not self.executor.draining:
                self._report()
            if renewed:
                yield
            pause = max(_MIN_RENEW_PAUSE, self.settings.pool.renew - (time.monotonic() - began))
            self._renew_now.wait(pause if renewed else _RENEW_RETRY)
            self._renew_now.clear()

    def _report(self) -> None:
        self.registration.report()

    def _listen(self) -> Iterator[None]:
        """Follow the notices of other processes."""
        for notice in self.services.notices.pool_messages(self.incarnation, self.name):
            match notice:
                case {"type": "cancel", "run_id": run_id}:
                    self.leases.cancel(run_id)
                case {"type": "inbox", "run_id": run_id}:
                    self.executor.read_inbox(run_id)
                case {"type": "child", "run_id": run_id}:
                    self.executor.look_after_calls(run_id)
                case {"type": "calls"}:
                    self._calls_wait.set()
                case {"type": "offer"}:
                    self._machines_ask.set()
                case {"type": "connected"}:  # notices since the connection was lost have not arrived
                    self.executor.read_inboxes()
                    self.executor.look_after_calls()
                    self._calls_wait.set()
                    self._renew_now.set()
            yield

    def _publish(self) -> Iterator[None]:
        """Publish runs from the backlog, once however many claims and ends have made room."""
        published = 0
        self._capacity_changed.set()  # also after a failure: what made room then waits to be used
        while True:
            if self._capacity_changed.wait(_IDLE):
                gevent.sleep(_GATHER if published else _GATHER_IDLE)
                self._capacity_changed.clear()
                published = self.services.publisher.publish_after(self.name)
            yield

    def _take_calls(self) -> Iterator[None]:
        """Execute sub-runs that wait for this pool, whenever there is room for some that may wait.

        Not whenever there is room: that would be two transactions more for every run.
        """
        self._calls_wait.set()
        while True:
            self._calls_wait.wait(_IDLE)
            self._calls_wait.clear()
            self.executor.take_calls()
            yield

    def _look_for_machines(self) -> Iterator[None]:
        """See what machines elsewhere offer to execute: when one asks, and now and then.

        Sub-runs that had to wait for that may begin. Where none waits, as far as this process knows, no
        machine that waits costs a transaction.
        """
        while True:
            self._machines_ask.wait(_LOOK_FOR_MACHINES)
            self._machines_ask.clear()
            with suppress(StreamUnavailable):
                self.executor.look_for_machines()
            if self.executor.left_calls:
                self._calls_wait.set()
            yield

    def _take_up_workers(self) -> Iterator[None]:
        """Have the hosts import their workers before the first run, and take up changed folders."""
        if not self._warmed:
            self._warmed = True
            self.children.sandboxing.log(self.workers.current.values())
            for sentence in self.services.open_to_runs():
                log.warning("%s", sentence)
            yield from self.workers.warm()
        while True:
            if not self.executor.draining:
                yield from self.workers.look()
            gevent.sleep(max(self.settings.pool.settle, self.workers.cost / _LOOK_SHARE))
            yield

    def _ask_for_choices(self) -> Iterator[None]:
        """Have workers say what may be chosen in their configs."""
        while True:
            if not self.executor.draining:
                yield from self.workers.ask_for_choices()
            gevent.sleep(_CHOICES_PAUSE)
            yield

    def _report_soon(self) -> None:
        """Report other workers, or versions; what waits for them may begin."""
        self._renew_now.set()
        self.executor.left_calls = True
        self._change_capacity()

    # ── drain ───────────────────────────────────────────────────────────────

    def _exit_drained(self) -> None:
        """End the process, in which no run is left."""
        try:
            self.services.publisher.publish_next(self.name)
        except StoreUnavailable:
            pass  # the reaper publishes them a second later
        except Exception:
            log.exception("the backlog could not be published at the end; the reaper does it")
        if not self._exit_code:
            self.worker.stop()
            # Where the broker is away, Celery would try to reach it without end.
            gevent.sleep(_DISCONNECT)
        try:
            with suppress(gevent.Timeout), gevent.Timeout(_CLEAN_UP):
                self.children.close()
        except Exception:
            log.exception("the children could not be ended in order; the kernel ends them")
        os._exit(self._exit_code)


def main(arguments: list[str]) -> None:
    """Run a pool process.

    The arguments are its pool, slots and incarnation, and the descriptor of its heartbeat.
    """
    name, slots, incarnation, heartbeat = arguments
    collector.settle()
    processes.hide()
    start_beating(int(heartbeat))
    settings = current()
    configure(settings)
    # Celery warns that pickled messages must not be handled by root; ours are JSON.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    PoolProcess(settings, name, int(slots), incarnation).run()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ConfigurationError as error:
        sys.exit(str(error))
