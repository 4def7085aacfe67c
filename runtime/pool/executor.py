"""The executor: what a pool does with a run, from the claim to the announcement.

:meth:`Executor.execute` reads top to bottom: claim → start → relay → finish. It is
the only writer of an attempt's messages, events and end, and everything that it
writes carries the attempt's number.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import gevent
import gevent.lock
import orjson

from runtime import events
from runtime.child import Children
from runtime.errors import AttemptEnded, ChildFailed, StoreUnavailable, StreamUnavailable, UnknownWorker
from runtime.model import Message, MessageStatus, Run, RunError, RunStatus
from runtime.pool.announced import AnnouncedEnds
from runtime.pool.attempt import Attempt, StopReason
from runtime.pool.isolation import IsolatedProcesses
from runtime.pool.leases import Leases
from runtime.pool.relay import Relay
from runtime.pool.transcript import Transcript
from runtime.queue.announcer import run_hint
from runtime.services import Services
from runtime.store import Connection, attempts, backlog, messages
from runtime.tokens import run_token

log = logging.getLogger(__name__)
T = TypeVar("T")

_PROTOCOL = 1
_LAST_WORDS = 0.5
"""Seconds that stderr is given to end after a failure."""
_CLAIMED_AT_ONCE = 2
"""In a burst the first runs are to start while the others are still being claimed."""
_AT_MOST_ONCE = "Its pool was shut down, and its worker is started no second time (max_attempts is 1)."
_PATIENCE = 0.25
"""Seconds between two tries while the database is away."""


class Executor:
    """Executes runs in this pool process, each in a child of its own."""

    def __init__(
        self,
        services: Services,
        children: Children,
        leases: Leases,
        announced: AnnouncedEnds,
        incarnation: str,
        on_capacity_change: Callable[[], None],
        isolated: IsolatedProcesses | None = None,
    ) -> None:
        """``incarnation`` names this process in the leases.

        ``on_capacity_change`` is called when a claim or an end has made room for the next run.
        ``isolated``: where runs are executed that must not be here; None in a cell.
        """
        self._services = services
        self._settings = services.settings
        self._children = children
        self._leases = leases
        self._announced = announced
        self._incarnation = incarnation
        self.on_capacity_change = on_capacity_change
        self._isolated = isolated
        self.draining = False
        self.executing = 0
        """How many runs it has in hand, those included that it is about to claim."""
        self._claiming = gevent.lock.BoundedSemaphore(_CLAIMED_AT_ONCE)
        self._relays: dict[str, Relay] = {}

    def execute(self, run_id: str) -> None:
        """Execute a run if it is still to be claimed."""
        self.executing += 1
        try:
            self._execute(run_id)
        finally:
            self.executing -= 1

    def _execute(self, run_id: str) -> None:
        try:
            attempt = self._claim_patiently(run_id)
        except Exception:
            # Left as it is, it would be published and fail here for ever.
            log.exception("run %s cannot be claimed; it ends as error", run_id)
            return self._refuse(run_id)
        if attempt is None:
            return self._pass_on(run_id)
        relay = Relay(attempt, self._services)
        self._relays[run_id] = relay
        self._leases.add(attempt)
        self.on_capacity_change()
        try:
            self._start(attempt, relay)
            self._relay(attempt, relay)
            self._finish(attempt, relay)
        except AttemptEnded:
            log.warning("run %s: attempt %d is no longer ours", run_id, attempt.run.attempt)
        finally:
            self._clear(attempt, relay)
            self.on_capacity_change()

    def read_inbox(self, run_id: str) -> None:
        """A worker has sent something over HTTP."""
        if run_id in self._relays:
            gevent.spawn(self._read_inbox, self._relays[run_id])

    def read_inboxes(self) -> None:
        """Any worker may have sent something."""
        for run_id in self._relays:
            self.read_inbox(run_id)

    def _read_inbox(self, relay: Relay) -> None:
        try:
            relay.read_inbox()
        except StreamUnavailable:
            log.warning("run %s: its inbox could not be read", relay.attempt.run.id)

    # ── claim ───────────────────────────────────────────────────────────────

    def _claim_patiently(self, run_id: str) -> Attempt | None:
        """Claim it, also where the database is away for a while. Later the run is published again."""
        until = time.monotonic() + self._settings.reaper.publish_grace
        while True:
            try:
                return self._claim_in_turn(run_id)
            except StoreUnavailable:
                if self.draining or time.monotonic() > until:
                    log.warning("run %s could not be claimed; it is published again", run_id)
                    return None
                gevent.sleep(_PATIENCE)

    def _claim_in_turn(self, run_id: str) -> Attempt | None:
        if not self._claiming.acquire(timeout=self._settings.database.pool_timeout):
            raise StoreUnavailable
        try:
            return self._claim(run_id)
        finally:
            self._claiming.release()

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
            self._histories(),
            isolated=self._isolated is None,
            only_published=self._limited(),
        )
        if claim is None:
            return None
        transcript = Transcript(claim.run, len(claim.earlier), self._settings.run)
        return Attempt(claim, transcript, before + lease)

    def _pass_on(self, run_id: str) -> None:
        """It was not to be claimed here: for a cell perhaps, or its message came twice or late."""
        if self._isolated is None or self.draining:
            return
        try:
            self._isolated.execute(run_id)
        except StoreUnavailable:
            log.warning("run %s was not passed on: the database is away; it is published again", run_id)
        self.on_capacity_change()

    def _refuse(self, run_id: str) -> None:
        error = RunError("start_failed", "The run could not be read; the log of its pool says why.")
        self._services.database.write(attempts.refuse, run_id, error)

    def _limited(self) -> bool:
        workers = self._services.registry.workers.values()
        return bool(self._settings.limits.running_per_user or any(w.max_running for w in workers))

    def _histories(self) -> dict[str, int]:
        workers = self._services.registry.workers.values()
        default = {"": self._settings.run.history}
        return default | {worker.id: worker.history for worker in workers if worker.history is not None}

    # ── start ───────────────────────────────────────────────────────────────

    def _start(self, attempt: Attempt, relay: Relay) -> None:
        """Start the child while the log is opened."""
        run = attempt.run
        opening = gevent.spawn(relay.open_log, [events.run_started(run)])
        try:
            worker = self._services.registry.get(run.worker_id)
            attempt.child = self._children.start(
                worker, run_id=run.id, environ=self._environ(run), line=self._first_line(attempt)
            )
        except UnknownWorker as error:
            attempt.transcript.fail(RunError("worker_unknown", f"{error} The pool does not have it."))
        except ChildFailed as error:
            attempt.transcript.fail(RunError("start_failed", str(error)))
        else:
            attempt.on_stop = lambda why: self._stop(attempt, why)
            if attempt.stopped:
                self._stop(attempt, attempt.stopped)
        finally:
            opening.get()

    def _environ(self, run: Run) -> dict[str, str]:
        return {
            "BRANCHLINE_RUN_ID": run.id,
            "BRANCHLINE_API_URL": self._settings.api_url,
            "BRANCHLINE_RUN_TOKEN": run_token(self._settings, run.id, run.attempt),
        }

    def _first_line(self, attempt: Attempt) -> bytes:
        claim = attempt.claim
        return orjson.dumps(
            {
                "type": "run",
                "protocol": _PROTOCOL,
                "run": claim.run.encode(),
                "config": claim.run.config,
                "args": claim.run.args,
                "messages": [message.encode() for message in claim.messages],
                "earlier": [message.encode() for message in claim.earlier],
                "answers": claim.run.answers,
            }
        )

    # ── relay ───────────────────────────────────────────────────────────────

    def _relay(self, attempt: Attempt, relay: Relay) -> None:
        if attempt.child is None:
            return
        deadline = gevent.spawn_later(attempt.run.timeout_seconds, attempt.stop, StopReason.TIMEOUT)
        try:
            relay.run(attempt.child)
        finally:
            deadline.kill(block=False)
        if attempt.transcript.result is None:
            self._read_inbox(relay)
        if attempt.lost:
            raise AttemptEnded

    def _stop(self, attempt: Attempt, why: StopReason) -> None:
        """End the child: ask, then TERM, then KILL; at once where the lease is lost."""
        grace = 0.0 if why in (StopReason.LOST, StopReason.TOO_LARGE) else self._settings.pool.kill_grace
        if attempt.child is not None:
            if why is StopReason.CANCELLED:
                attempt.child.send(b'{"type":"cancel"}')
            gevent.spawn(attempt.child.stop, grace)

    # ── finish ──────────────────────────────────────────────────────────────

    def _finish(self, attempt: Attempt, relay: Relay) -> None:
        """Commit how the attempt ended, then say so."""
        transcript = attempt.transcript
        status, error = self._judge(attempt, relay)
        if attempt.stopped is StopReason.DRAIN and status is None:
            if attempt.run.max_attempts > 1:
                return self._give_up(attempt, relay, lambda c, left: attempts.hand_back(c, attempt.run, left))
            status, error = RunStatus.ERROR, RunError("lost", _AT_MOST_ONCE)
        if error and error.retryable and attempt.run.failures + 1 < attempt.run.max_attempts:
            backoff = self._settings.run.retry_backoff * 2**attempt.run.failures
            return self._give_up(
                attempt, relay, lambda c, left: attempts.retry(c, attempt.run, backoff, left)
            )
        database = self._services.database
        confirmation = transcript.result.confirmation if transcript.result else None
        if confirmation and status is None:
            left = self._remains(attempt, MessageStatus.COMPLETE)
            run = self._commit(
                attempt, database.write, attempts.wait, attempt.run, confirmation, transcript.usage, left
            )
        else:
            status = status or RunStatus.SUCCESS
            complete = status is RunStatus.SUCCESS and transcript.result is not None
            left = self._remains(attempt, MessageStatus.COMPLETE if complete else MessageStatus.PARTIAL)
            run = self._commit(
                attempt,
                database.engine.finish,
                attempt.run,
                status,
                left,
                error=error,
                usage=transcript.usage,
            )
        self._tell(attempt, relay, run, left)

    def _tell(self, attempt: Attempt, relay: Relay, run: Run, left: attempts.AttemptResult) -> None:
        """Append the end, or the question, that was committed."""
        attempt.transcript.mark_committed(left.messages)
        last = events.run_waiting(run) if run.status is RunStatus.WAITING else events.run_completed(run)
        told = relay.close([last], run_hint(run))
        if told and run.status.terminal:
            self._announced.add(run.id)
        elif not told and run.status is RunStatus.WAITING:
            gevent.spawn(self._announce_question, run, attempt.claim, left.messages)

    def _announce_question(self, run: Run, claim: attempts.Claim, said: Sequence[Message]) -> None:
        """Tell the log, once Redis is back, what nobody would answer who had not heard of it."""
        while not self._services.announcer.waiting(run, claim.output_state, claim.earlier, said):
            gevent.sleep(_PATIENCE)

    def _judge(self, attempt: Attempt, relay: Relay) -> tuple[RunStatus | None, RunError | None]:
        """How it ended. No status: it ended well, or is to go on elsewhere."""
        transcript = attempt.transcript
        error: RunError | None = None
        if transcript.result is not None:
            error = transcript.result.error
        elif attempt.stopped is None:
            error = self._exit_error(attempt)  # waits; it may be stopped meanwhile
        if attempt.stopped is StopReason.LOST:
            raise AttemptEnded
        if attempt.stopped in (StopReason.CANCELLED, StopReason.TOO_LARGE, StopReason.TIMEOUT):
            return self._stopped_as(attempt)
        if transcript.result is None and attempt.stopped is StopReason.DRAIN:
            return None, None
        if error is None:
            return (None if transcript.result is not None else RunStatus.SUCCESS), None
        relay.wait_for_log(_LAST_WORDS)
        return RunStatus.ERROR, replace(error, log_tail=transcript.log.tail())

    def _stopped_as(self, attempt: Attempt) -> tuple[RunStatus, RunError | None]:
        run = attempt.run
        match attempt.stopped:
            case StopReason.CANCELLED:
                return RunStatus.CANCELLED, None
            case StopReason.TOO_LARGE:
                limits = self._settings.run
                message = (
                    f"A message of the worker is larger than {limits.max_message} bytes, "
                    f"or all that it said is larger than {limits.max_output}."
                )
                code, status = "output_too_large", RunStatus.ERROR
            case _:
                message = f"The run took longer than the {run.timeout_seconds:g} seconds that it may take."
                code, status = "timeout", RunStatus.TIMEOUT
        return status, RunError(code, message, log_tail=attempt.transcript.log.tail())

    def _exit_error(self, attempt: Attempt) -> RunError | None:
        child = attempt.child
        code = child.wait(self._settings.pool.kill_grace) if child else None
        if code == 0:
            return None
        if code is None:
            return RunError("worker_crashed", "The worker closed its output but did not end.")
        if child and child.overdrawn:
            limit = self._services.registry.get(attempt.run.worker_id).limits.memory_bytes or 0
            message = f"The worker used more than the {limit / (1 << 20):,.4g} MiB of memory that it may."
            return RunError("worker_crashed", message)
        if code < 0:
            return RunError("worker_crashed", f"The worker was killed by {signal.Signals(-code).name}.")
        return RunError("worker_crashed", f"The worker ended with exit code {code}.")

    def _give_up(
        self,
        attempt: Attempt,
        relay: Relay,
        change: Callable[[Connection, attempts.AttemptResult], Run],
    ) -> None:
        """The run goes back to the queue and another attempt will follow, unless it was cancelled."""
        left = self._remains(attempt, MessageStatus.PARTIAL)

        def give_up(c: Connection) -> tuple[Run, list[str]]:
            return change(c, left), messages.voided(c, attempt.run)

        run, void = self._commit(attempt, self._services.database.write, give_up)
        if run.status.terminal:
            self._tell(attempt, relay, run, left)
        else:
            self._services.announcer.retried(run, void)

    def _remains(self, attempt: Attempt, status: MessageStatus) -> attempts.AttemptResult:
        transcript = attempt.transcript
        messages = transcript.close(status)
        return attempts.AttemptResult(
            messages, transcript.unsaved_steps(), transcript.log.text(), transcript.log.truncated
        )

    def _commit(self, attempt: Attempt, change: Callable[..., T], *args: object, **kwargs: object) -> T:
        """Write the end, for as long as it takes the database to come back and the lease lasts."""
        while True:
            try:
                return change(*args, **kwargs)
            except StoreUnavailable:
                if attempt.lost:
                    raise AttemptEnded from None
                gevent.sleep(_PATIENCE)

    def _clear(self, attempt: Attempt, relay: Relay) -> None:
        if attempt.child is not None:
            if not attempt.stopped:
                attempt.child.wait(_LAST_WORDS)
            attempt.child.stop(0.0)
        relay.stop_reading()
        if attempt.child is not None:
            attempt.child.close()
        self._leases.remove(attempt)
        if self._relays.get(attempt.run.id) is relay:
            del self._relays[attempt.run.id]
