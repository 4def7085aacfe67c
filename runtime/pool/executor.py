"""The executor: claims the runs of a pool process and has an attempt runner execute each.

It holds what belongs to the process: how many claims are made at once, whether it
drains, and the runner of each run. What happens to a run once it is claimed is in
:mod:`runtime.pool.attempt_runner`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import gevent
import gevent.lock

from runtime import logs
from runtime.child import Children
from runtime.child.remote_child import RemoteMachines
from runtime.dispatch import Dispatcher
from runtime.errors import StaleAttempt, StoreUnavailable, Unavailable
from runtime.model import Run, RunError, RunStatus
from runtime.pool.announced import AnnouncedEnds
from runtime.pool.attempt import Attempt
from runtime.pool.attempt_runner import AttemptRunner
from runtime.pool.calls import Calls
from runtime.pool.isolation import IsolatedProcesses
from runtime.pool.leases import Leases
from runtime.pool.slots import Slots
from runtime.pool.transcript import Transcript
from runtime.pool.workers import PoolWorkers, Version
from runtime.registry import Worker
from runtime.services import Services
from runtime.store import attempts, backlog, calls
from runtime.store.windows import Size, Windows
from runtime.stream import Hub

log = logging.getLogger(__name__)

_CLAIMS_AT_ONCE = 2
"""In a burst the first runs are to start while others are still being claimed."""
_LEFT_TO_OTHERS = 10
"""How many messages are left to other pool processes of a run that this machine could not start."""
_PAUSE_FOR_OTHERS = 0.5
"""Seconds until such a run is published again."""
_FIRST_HOLD, _LONGEST_HOLD = 1.0, 30.0
"""Seconds for which a run is held back whose worker no process of the pool has: at first, and at most."""
_MOST_REMEMBERED = 1000
"""Runs that this machine could not start, and of which that is remembered."""
_RETRY_PAUSE = 0.25
"""Seconds between two tries while the database is away."""


class Executor:
    """Executes runs in this pool process, each in a child of its own."""

    def __init__(
        self,
        services: Services,
        workers: PoolWorkers,
        children: Children,
        leases: Leases,
        announced: AnnouncedEnds,
        pool: str,
        incarnation: str,
        slots: int,
        hub: Hub,
        on_capacity_change: Callable[[], None],
        isolated: IsolatedProcesses | None = None,
        on_room: Callable[[bool], None] = lambda _: None,
        machines: RemoteMachines | None = None,
    ) -> None:
        """``incarnation`` names this process in the leases.

        ``slots``: how many runs may be at work. ``hub``: follows what sub-runs say.
        ``on_capacity_change`` is called when a claim or an end has made room for the next run.
        ``isolated`` executes the runs that need a process of their own; None in such a process.
        ``on_room`` is told whether there is room for a run of the queue. ``machines``: those elsewhere
        that execute the runs, if they do.
        """
        self._services = services
        self._workers = workers
        self._settings = services.settings
        self._children = children
        self._leases = leases
        self._announced = announced
        self._pool = pool
        self._incarnation = incarnation
        self._hub = hub
        self._machines = machines
        self._slots = Slots(slots, self._waiting, on_room)
        self._dispatcher = Dispatcher(services)
        self._on_capacity_change = on_capacity_change
        self._isolated = isolated
        self.draining = False
        self._claims = gevent.lock.BoundedSemaphore(_CLAIMS_AT_ONCE)
        self._encoded: tuple[Mapping[str, Worker] | None, str] = None, ""
        """Workers, and what is in force for them."""
        self._runners: dict[str, AttemptRunner] = {}
        """By run."""
        self.left_calls = True
        """Whether sub-runs may wait for this process to have room, as far as it knows. Of those of
        others it is told."""
        self._not_started: dict[str, int] = {}
        """Runs that could not be started here → how many messages of each are still left to others."""
        self._passed_on: dict[str, int] = {}
        """Runs whose version another process has → how often they were handed back for that."""
        if machines is not None:
            self._slots.offer(0)

    @property
    def _sandboxes(self) -> str:
        """What keeps the runs of each worker in their place; the claim writes it to the run."""
        current, text = self._encoded
        if current is not self._workers.current:
            current = self._workers.current
            text = self._children.sandboxing.encode(current.values())
            self._encoded = current, text
        return text

    @property
    def executing(self) -> int:
        """How many runs it has in hand, including those that it is about to claim."""
        return self._slots.held

    def execute(self, run_id: str) -> str | None:
        """Execute a run of the queue, if it is still to be claimed. Returns how it has failed, if it has."""
        self._slots.take()
        if self._slots.free < 0 and self._machines is None:  # a sub-run was quicker
            self._slots.give_back()
            self._put_back(run_id)
            return None
        return self._execute(run_id)

    def _execute(self, run_id: str) -> str | None:
        """Execute a run that has a slot, which is given back."""
        logs.begin(run_id=run_id)
        try:
            if self._machines is not None and not self._machines.reserve(run_id):
                self._slots.offer(0)  # another process was quicker
                self.left_calls = True  # it may be one
                self._put_back(run_id)
                return None
            return self._claim_and_run(run_id)
        finally:
            if self._machines is not None:
                self._machines.release(run_id)
            logs.begin()
            self._slots.give_back()

    def look_for_machines(self) -> None:
        """See how many runs machines elsewhere would begin. Raises StreamUnavailable."""
        if self._machines is not None:
            self._slots.offer(self._machines.count())

    def _put_back(self, run_id: str) -> None:
        try:
            self._services.database.write(backlog.unpublish, [run_id])
        except StoreUnavailable:
            log.warning("run %s was not put back: the database is away; it is published again", run_id)
        self._on_capacity_change()

    def _claim_and_run(self, run_id: str) -> str | None:
        if self._leave_to_others(run_id):
            return None
        try:
            attempt = self._claim_with_retries(run_id)
        except Exception:
            # It would be published and fail here again and again.
            log.exception("run %s cannot be claimed; it ends as error", run_id)
            self._refuse(run_id)
            return "error: start_failed"
        if attempt is None:
            return self._pass_on(run_id)
        logs.begin(**attempt.run.about)
        version = self._hold(attempt.claim)
        if version is None:
            self._hand_back(attempt.run)
            return None
        try:
            return self._run(attempt, version)
        finally:
            self._workers.release(version)

    def _hold(self, claim: attempts.Claim) -> Version | None:
        """The version that is to execute a run; None where another process is to do it.

        What an earlier attempt has saved is best read by the version that has saved it.
        """
        run = claim.run
        version = self._workers.hold(run.worker_id, run.worker_digest if claim.saved else None)
        if version is None or not claim.saved or version.worker.digest == run.worker_digest:
            return version
        passed_on = self._passed_on.pop(run.id, 0)
        with suppress(StoreUnavailable):
            self._services.catalogue.refresh()
        elsewhere = self._services.catalogue.is_in_pool(self._pool, run.worker_id, run.worker_digest)
        if elsewhere and passed_on < _LEFT_TO_OTHERS and self._isolated is not None:
            self._passed_on[run.id] = passed_on + 1
            self._workers.release(version)
            return None
        return version

    def _hand_back(self, run: Run) -> None:
        """Another process has its worker, or the version of it that it needs."""
        database = self._services.database
        try:
            database.write(attempts.hand_back, run, attempts.AttemptResult(), continued=True)
            database.write(backlog.unpublish, [run.id], _PAUSE_FOR_OTHERS)
        except StaleAttempt:
            pass
        except StoreUnavailable:
            log.warning("run %s was not handed back: the database is away; its lease runs out", run.id)
        self._on_capacity_change()

    def _run(self, attempt: Attempt, version: Version) -> str | None:
        run_id = attempt.run.id
        called = Calls(attempt, self._services, self._hub, self)
        runner = AttemptRunner(
            attempt,
            version.worker,
            self._services,
            self._children,
            self._announced,
            called,
            self._note_commit,
        )
        self._runners[run_id] = runner
        self._leases.add(attempt)
        self._on_capacity_change()
        try:
            runner.execute()
            return runner.failure
        finally:
            if runner.not_started:
                self._remember(run_id)
            self._leases.remove(attempt)
            if self._runners.get(run_id) is runner:
                del self._runners[run_id]
            self._on_capacity_change()

    def read_inbox(self, run_id: str) -> None:
        """The worker of this run has sent something over HTTP."""
        if run_id in self._runners:
            gevent.spawn(self._runners[run_id].read_inbox)

    def read_inboxes(self) -> None:
        """Any worker may have sent something."""
        for run_id in self._runners:
            self.read_inbox(run_id)

    # ── sub-runs ────────────────────────────────────────────────────────────

    def reserve(self, pool: str, *, waits: bool) -> bool:
        """Keep a slot for a new sub-run of that pool, if this process may begin it at once.

        ``waits``: whether its caller waits already; else it does from now on.
        """
        if self._isolated is None or self.draining or pool != self._pool or self._has_limits():
            return False
        if self._slots.free + (not waits) <= 0:
            return False
        self._slots.take()
        return True

    def release(self) -> None:
        """The slot that was kept is not needed."""
        self._slots.give_back()

    def begin(self, run: Run, *, reserved: bool) -> None:
        """Have a new sub-run executed: here, in the slot that was kept, or by whoever has one."""
        if reserved:
            gevent.spawn(self._execute_call, run.id)
        else:
            self.left_calls |= run.pool == self._pool
            gevent.spawn(self._dispatcher.wake_pool, run.pool)

    def calls_changed(self) -> None:
        """An attempt waits for a sub-run now, or does no more."""
        self._slots.changed()
        self._on_capacity_change()

    def take_calls(self) -> None:
        """Execute sub-runs that wait, as many as there is room for. Raises StoreUnavailable."""
        if self.draining:
            return
        if self._slots.free <= 0:
            self.left_calls = True
            return
        limits = {w.id: w.max_running for w in self._workers.current.values() if w.max_running}
        per_user = self._settings.limits.running_per_user
        free = self._slots.free
        self.left_calls = False  # already now, or each end meanwhile would have us look once more
        try:
            taken = self._services.database.write(
                calls.take, self._pool, free, limits, per_user, workers=self._workers.current.keys()
            )
        except BaseException:
            self.left_calls = True
            raise
        self.left_calls |= taken.left
        for ticket in taken.tickets:
            self._slots.take()
            gevent.spawn(self._execute_call, ticket.run_id)

    def look_after_calls(self, run_id: str | None = None) -> None:
        """Look at the sub-runs of a run here, or of all; what one of them has told us may be lost."""
        runners = list(self._runners.values()) if run_id is None else [self._runners.get(run_id)]
        for runner in runners:
            if runner is not None and runner.calls.are_open:
                gevent.spawn(self._look_after, runner)

    def _execute_call(self, run_id: str) -> None:
        try:
            self._execute(run_id)
        except Exception:
            log.exception("the sub-run %s could not be executed here", run_id)

    @staticmethod
    def _look_after(runner: AttemptRunner) -> None:
        try:
            runner.calls.look()
        except StoreUnavailable:
            pass  # it is looked at again

    def _waiting(self) -> int:
        return sum(runner.calls.are_open for runner in self._runners.values())

    def _note_commit(self, run: Run) -> None:
        """It is committed what becomes of a run: tell the one above it, and those below."""
        if run.call_id is not None and run.parent_run_id is not None and run.status is RunStatus.QUEUED:
            self.left_calls = True
        elif run.call_id is not None and run.parent_run_id is not None:
            if run.parent_run_id in self._runners:
                self.look_after_calls(run.parent_run_id)
            else:
                gevent.spawn(self._dispatcher.tell_caller, run)
        runner = self._runners.get(run.id)
        if run.status.terminal and runner is not None and (runner.calls.were_made or run.attempt > 1):
            gevent.spawn(self._announce_below, run)

    def _announce_below(self, run: Run) -> None:
        with suppress(Unavailable):
            self._dispatcher.announce_cancelled(self._services.database.read(calls.below, run))

    # ── runs that could not be started here ─────────────────────────────────

    def _remember(self, run_id: str) -> None:
        self._not_started[run_id] = _LEFT_TO_OTHERS
        if len(self._not_started) > _MOST_REMEMBERED:
            del self._not_started[next(iter(self._not_started))]

    def _leave_to_others(self, run_id: str) -> bool:
        """Return a run to the backlog that this machine could not start a moment ago.

        It starts nothing, so it would be the first to have a free slot, and lose the run again.
        Another process may do better. If there is none, the run comes back often enough.
        """
        left = self._not_started.pop(run_id, 0)
        if left == 0:
            return False
        self._not_started[run_id] = left - 1
        try:
            self._services.database.write(backlog.unpublish, [run_id], _PAUSE_FOR_OTHERS)
        except StoreUnavailable:
            log.warning("run %s was not left to others: the database is away", run_id)
        return True

    # ── claim ───────────────────────────────────────────────────────────────

    def _claim_with_retries(self, run_id: str) -> Attempt | None:
        """Claim the run, also where the database is away for as long as it takes to publish it again."""
        until = time.monotonic() + self._settings.reaper.publish_grace
        while True:
            try:
                return self._claim_in_turn(run_id)
            except StoreUnavailable:
                if self.draining or time.monotonic() > until:
                    log.warning("run %s could not be claimed; it is published again", run_id)
                    return None
                gevent.sleep(_RETRY_PAUSE)

    def _claim_in_turn(self, run_id: str) -> Attempt | None:
        if not self._claims.acquire(timeout=self._settings.database.pool_timeout):
            raise StoreUnavailable
        try:
            return self._claim(run_id)
        finally:
            self._claims.release()

    def _claim(self, run_id: str) -> Attempt | None:
        if self.draining:
            self._services.database.write(backlog.unpublish, [run_id])
            return None
        before = time.monotonic()
        lease = self._settings.pool.lease
        claim = self._services.database.engine.claim(
            run_id,
            self._incarnation,
            lease,
            self._history_limits(),
            windows=self._windows(),
            isolated=self._isolated is None,
            only_published=self._has_limits(),
            only_known=True,
            sandboxes=self._sandboxes,
        )
        if claim is None:
            return None
        transcript = Transcript(claim.run, claim.first_position, self._settings.run)
        return Attempt(claim, transcript, before + lease)

    def _pass_on(self, run_id: str) -> str | None:
        """It was not claimed here: it may need an isolated process, or its message came twice or late.

        Returns how it has failed there, if it has.
        """
        if self._isolated is None or self.draining:
            return None
        self._slots.set_apart(1)
        try:
            return None if self._hold_back(run_id) else self._isolated.execute(run_id)
        except StoreUnavailable:
            log.warning("run %s was not passed on: the database is away; it is published again", run_id)
            return None
        finally:
            self._slots.set_apart(-1)
            self._on_capacity_change()

    def _hold_back(self, run_id: str) -> bool:
        """Return a run to the backlog whose worker this process does not have; whether it is such a run.

        Where no other process has it either, it is looked at more rarely the longer it waits; once one
        has, it is there at once (:func:`backlog.release_held_back`).
        """
        due = self._services.database.read(attempts.due_worker, run_id)
        if due is None or due[0] in self._workers.current:
            return False
        worker_id, age = due
        self._services.catalogue.refresh()
        elsewhere = self._services.catalogue.is_in_pool(self._pool, worker_id)
        pause = _PAUSE_FOR_OTHERS if elsewhere else min(_LONGEST_HOLD, _FIRST_HOLD + age / 4)
        self._services.database.write(backlog.unpublish, [run_id], pause)
        log.info("run %s waits: its worker %s is not here", run_id, worker_id)
        return True

    def _refuse(self, run_id: str) -> None:
        error = RunError("start_failed", "The run could not be read; the log of its pool says why.")
        self._services.database.write(attempts.refuse, run_id, error)

    def _has_limits(self) -> bool:
        """Whether some runs may have to wait although slots are free."""
        workers = self._workers.current.values()
        return bool(self._settings.limits.running_per_user or any(w.max_running for w in workers))

    def _windows(self) -> Windows:
        """Which workers have a window, of how many messages, and who sums up what that leaves out."""
        run = self._settings.run
        rules = {worker.id: worker.window for worker in self._workers.current.values() if worker.window}
        sizes = {id: Size(rule.messages or run.window, summary=rule.summary) for id, rule in rules.items()}
        return Windows(sizes, run.max_window)

    def _history_limits(self) -> dict[str, int]:
        """How many messages each worker is given, by its id; "" is the default."""
        workers = self._workers.current.values()
        default = {"": self._settings.run.history}
        return default | {worker.id: worker.history for worker in workers if worker.history is not None}
