"""The attempt runner: executes one claimed attempt of a run, and announces its end.

:meth:`AttemptRunner.execute` is a pipeline that reads top to bottom, as
``Oban.Queue.Executor`` does: start, relay, decide, commit, announce, clean up. It is
the only writer of the attempt's messages, events and end, and every write carries the
attempt's number, so that writes of a superseded attempt are refused.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import gevent

from runtime import events, logs
from runtime.child import Child, Children, protocol
from runtime.child.remote_child import RemoteChild
from runtime.errors import (
    AttemptEnded,
    ChildFailed,
    ChildLost,
    Invalid,
    StoreUnavailable,
    StreamUnavailable,
    TooMany,
    Unavailable,
)
from runtime.model import Json, Message, MessageStatus, Run, RunError, RunStatus
from runtime.pool.announced import AnnouncedEnds
from runtime.pool.attempt import Attempt, StopReason
from runtime.pool.calls import Calls
from runtime.pool.continuation import continuation
from runtime.pool.first_line import first_line
from runtime.pool.outcome import AttemptEnd, Finish, HandBack, Outcome, Retry, Wait, decide, exit_error
from runtime.pool.relay import Relay
from runtime.queue.announcer import run_hint
from runtime.registry import Worker
from runtime.sandbox import refusals
from runtime.services import Services
from runtime.store import Connection, attempts, messages
from runtime.tokens import run_token

log = logging.getLogger(__name__)
T = TypeVar("T")

_LAST_OUTPUT = 0.5
"""Seconds that stderr is given to end after a failure, and a child to exit after its last event."""
_RETRY_PAUSE = 0.25
"""Seconds between two tries while Redis or the database is away."""
_FAULT_PAUSE = 5.0
"""Seconds until something is tried again that nobody else does, and that failed by a fault of ours."""


@dataclass(frozen=True, slots=True)
class _Committed:
    """What was committed at the end of an attempt, and is to be announced."""

    run: Run
    """The run after the commit."""
    result: attempts.AttemptResult
    voided: Sequence[str] = ()
    """Ids of the messages that no longer count; empty unless the run is queued again."""
    asked: Mapping[str, Json] | None = None
    """What it asks its user; where that was settled meanwhile, the run is queued again."""


def _last_events(committed: _Committed) -> list[events.Event]:
    """The last events of the attempt."""
    run, asked = committed.run, committed.asked
    match run.status:
        case RunStatus.WAITING:
            return [events.run_waiting(run)]
        case RunStatus.QUEUED:
            waited = replace(run, status=RunStatus.WAITING, confirmation=asked)
            return [events.run_waiting(waited), events.run_queued(run)]
    return [events.run_completed(run)]


class AttemptRunner:
    """Executes one attempt."""

    def __init__(
        self,
        attempt: Attempt,
        worker: Worker,
        services: Services,
        children: Children,
        announced: AnnouncedEnds,
        calls: Calls,
        on_commit: Callable[[Run], None],
    ) -> None:
        """``worker``: the version that executes it.

        ``announced`` collects the runs whose end is in the event log, to be marked in the database.

        ``on_commit`` is called with the run once it is committed what becomes of it.
        """
        self._attempt = attempt
        self._worker = worker
        self._run = attempt.run
        self._transcript = attempt.transcript
        self._services = services
        self._settings = services.settings
        self._children = children
        self._announced = announced
        self.calls = calls
        self._on_commit = on_commit
        self._relay = Relay(attempt, services, calls, worker.type.elsewhere)
        self._lost: str | None = None
        """Why there is no child, where its worker is not to blame."""
        self.not_started = False
        """Whether this machine could not start a child, though another one may."""
        self._open: Sequence[Message] | None = None
        """What the worker is given to go on with; None: it begins anew."""
        self.failure: str | None = None
        """How the run has failed: its status and the code of its error."""

    def execute(self) -> None:
        """Run all phases. Returns early if another process may have taken over the run."""
        log.info("the run starts")
        began = time.monotonic()
        try:
            self._start()
            self._relay_output()
            outcome = self._decide()
            self.calls.close()
            committed = self._commit(outcome)
            self._on_commit(committed.run)
            self._note_end(committed.run, time.monotonic() - began)
            self._announce(committed)
        except AttemptEnded:
            log.warning(
                "run %s: attempt %d was superseded, or lost its lease", self._run.id, self._run.attempt
            )
        except Exception:
            # Nobody expected it, so another attempt would most likely meet it again.
            log.exception("run %s: attempt %d failed by a fault of ours", self._run.id, self._run.attempt)
            self._end_by_our_fault()
        finally:
            self._clean_up()

    def read_inbox(self) -> None:
        """Read what the worker sent over HTTP. Called on a notice, and once when its output has ended."""
        child = self._attempt.child
        if isinstance(child, RemoteChild):
            child.note_contact()
        try:
            self._relay.read_inbox()
        except StreamUnavailable:
            log.warning("run %s: its inbox could not be read", self._run.id)
        except Exception as error:
            self._relay.fail(error)

    # ── start ───────────────────────────────────────────────────────────────

    def _start(self) -> None:
        """Start the child and open the event log at the same time.

        A child that cannot start is recorded as a failed result, or as lost where its worker is
        not to blame. Raises StaleAttempt.
        """
        attempt, run = self._attempt, self._run
        self._go_on()
        opening = gevent.spawn(logs.same(self._relay.open_log), [events.run_started(run)])
        try:
            config = self._checked_config()
            attempt.child = self._children.start(
                self._worker,
                run_id=run.id,
                environ=self._environ(),
                line=first_line(self._with(config), self._open, self._settings),
            )
        except Invalid as error:
            problems = "; ".join(f"{'.'.join(map(str, e.path))} {e.message}" for e in error.errors)
            message = f"The worker has changed, and the run's config does not fit it any more: {problems}."
            self._transcript.fail(RunError("config_invalid", message))
        except (TooMany, Unavailable) as error:  # it could not be checked now
            self._lost = str(error)
        except ChildLost as error:
            self._lost = str(error)
            self.not_started = True
        except ChildFailed as error:
            self._transcript.fail(RunError("start_failed", str(error)))
        else:
            self._record_version(config)
            attempt.on_stop = self._stop_child
            if attempt.stopped:  # before there was a child to stop
                self._stop_child(attempt.stopped)
        finally:
            opening.get()

    def _go_on(self) -> None:
        """Where the worker goes on with the text of a lost attempt, take that over. Raises StaleAttempt."""
        claim = self._attempt.claim
        taken = self._persist(continuation, claim, self._services) if self._worker.continues else None
        if taken is not None:
            self._transcript.go_on_with(taken.open)
            self._relay.go_on_with(taken)
            self._open = [message for message, _ in taken.open]

    def _checked_config(self) -> Mapping[str, Json]:
        """The run's config, checked again where it was accepted for another version of the worker.

        Raises Invalid, TooMany, Unavailable.
        """
        run = self._run
        if run.worker_digest == self._worker.digest:
            return run.config
        return self._worker.check_config(run.config, run.user_id)

    def _with(self, config: Mapping[str, Json]) -> attempts.Claim:
        """The claim, with the config that its worker is given."""
        if config is self._run.config:
            return self._attempt.claim
        return replace(self._attempt.claim, run=replace(self._run, config=config))

    def _record_version(self, config: Mapping[str, Json]) -> None:
        """Correct the version of the worker that was recorded when the run was accepted."""
        digest = self._worker.digest
        if digest == self._run.worker_digest:
            return
        try:
            self._services.database.write(attempts.record_version, self._run, digest, config)
        except StoreUnavailable:
            log.warning("run %s: the version of its worker, %s, is not recorded", self._run.id, digest)

    def _environ(self) -> dict[str, str]:
        run = self._run
        return {
            "BRANCHLINE_RUN_ID": run.id,
            "BRANCHLINE_API_URL": self._settings.api_url,
            "BRANCHLINE_RUN_TOKEN": run_token(self._settings, run.id, run.attempt, self._worker.grants),
        }

    # ── relay ───────────────────────────────────────────────────────────────

    def _relay_output(self) -> None:
        attempt = self._attempt
        if attempt.child is None:
            return
        attempt.deadline = time.monotonic() + self._run.timeout_seconds
        deadline = gevent.spawn_later(self._run.timeout_seconds, attempt.stop, StopReason.TIMEOUT)
        try:
            self._relay.run(attempt.child)
        finally:
            deadline.kill(block=False)
        if self._transcript.result is None:  # no end on stdout: it may have come over HTTP
            self.read_inbox()
            self._relay.raise_fault()
        if attempt.lost:
            raise AttemptEnded

    def _stop_child(self, reason: StopReason) -> None:
        """Stop the child without waiting for it: SIGTERM, then SIGKILL after ``kill_grace``.

        A cancelled run is sent a ``cancel`` line first. One whose time is over has its stack written
        to its log; its ``timeout`` line stops nothing by itself, because it may arrive before the
        signal for that. Where its further output is not accepted, the lease being lost or the
        output too large, SIGKILL comes at once.
        """
        child = self._attempt.child
        if child is None:
            return
        at_once = reason in (StopReason.LOST, StopReason.TOO_LARGE)
        if reason is StopReason.CANCELLED:
            child.send(protocol.CANCEL)
        if reason is StopReason.TIMEOUT:
            child.show_stack()
            child.send(protocol.TIMEOUT)
        gevent.spawn(logs.same(child.stop), 0.0 if at_once else self._settings.pool.kill_grace)

    # ── decide ──────────────────────────────────────────────────────────────

    def _decide(self) -> Outcome:
        """Gather how the attempt ended, waiting for exit code and stderr if needed, and decide.

        Raises AttemptEnded if the lease was lost, also during these waits.
        """
        result, child = self._transcript.result, self._attempt.child
        error, lost = None, self._lost
        if result is not None:
            error = result.error
        elif child is not None and self._attempt.stopped is None:
            error = self._exit_error(child)
            lost = child.lost
        if self._attempt.stopped is StopReason.LOST:
            raise AttemptEnded
        end = AttemptEnd(self._run, self._attempt.stopped, result, error, lost)
        if end.failed or end.stopped is StopReason.TIMEOUT:
            self._relay.wait_for_log(_LAST_OUTPUT)
        if end.failed:
            self._explain_refusals(end)
        return decide(end, self._settings.run, self._transcript.log)

    def _explain_refusals(self, end: AttemptEnd) -> None:
        """Tell in the run's log what its sandbox refused, if that may be why it failed."""
        log, error = self._transcript.log, end.error
        if error is None or self._attempt.child is None:
            return
        text = f"{error.message}\n{log.tail()}"
        told = refusals.explain(text, self._children.sandboxing.policy(self._worker))
        if told is not None:
            log.write(told.encode("utf-8", "replace"))

    def _exit_error(self, child: Child) -> RunError | None:
        """The error of a child that ended without a report; None for exit code 0. Waits for its end."""
        code = child.wait(self._settings.pool.kill_grace)
        return exit_error(code, child.oom_killed, self._worker.limits, child.exceeded)

    # ── commit ──────────────────────────────────────────────────────────────

    def _commit(self, outcome: Outcome) -> _Committed:
        """Commit the outcome, with the messages, steps and log that were not committed before."""
        run, database = self._run, self._services.database
        match outcome:
            case Finish(status, error, complete):
                result = self._close(MessageStatus.COMPLETE if complete else MessageStatus.PARTIAL)
                ended = self._persist(database.engine.finish, run, status, result, error=error)
                return _Committed(ended, result)
            case Wait(confirmation):
                result = self._close(MessageStatus.COMPLETE)
                waiting = self._persist(database.write, attempts.wait, run, confirmation, result)
                return _Committed(waiting, result, asked=confirmation)
            case Retry(backoff, error, lost):
                if lost:
                    self._transcript.log.write(f"[branchline] {error.message}\n".encode())
                return self._requeue(
                    lambda c, result: attempts.retry(
                        c, run, backoff, error, result, lost=lost, continued=self._continued
                    )
                )
            case HandBack():
                return self._requeue(
                    lambda c, result: attempts.hand_back(c, run, result, continued=self._continued)
                )

    @property
    def _continued(self) -> bool:
        """Whether the next attempt goes on with the text of this one."""
        result = self._transcript.result
        anew = result is not None and (result.discarded or result.confirmation is not None)
        return not anew and self._worker.continues

    def _requeue(self, change: Callable[[Connection, attempts.AttemptResult], Run]) -> _Committed:
        """Queue the run again, or end it if it was cancelled; ``change`` decides in its own transaction."""
        result = self._close(MessageStatus.PARTIAL)

        def requeue(c: Connection) -> tuple[Run, list[str]]:
            return change(c, result), messages.voided(c, self._run)

        run, voided = self._persist(self._services.database.write, requeue)
        return _Committed(run, result, voided)

    def _close(self, status: MessageStatus) -> attempts.AttemptResult:
        transcript = self._transcript
        left = transcript.close(status)
        return attempts.AttemptResult(
            left,
            transcript.unsaved_steps(),
            transcript.log.text(),
            transcript.log.truncated,
            transcript.since_first_delta(),
            transcript.usage,
            transcript.data,
            transcript.finish,
            transcript.sent,
            self._relay.looks_to_keep,
            self._attempt.claim.title_wanted,
        )

    def _persist(self, write: Callable[..., T], *args: object, **kwargs: object) -> T:
        """Write to the database, and retry while it is unavailable and the lease is held."""
        while True:
            try:
                return write(*args, **kwargs)
            except StoreUnavailable:
                if self._attempt.lost:
                    raise AttemptEnded from None
                gevent.sleep(_RETRY_PAUSE)

    def _note_end(self, run: Run, seconds: float | None = None) -> None:
        """Log what has become of the run, which is committed; ``seconds``: how long the attempt took."""
        known: dict[str, Json] = {"status": run.status}
        if seconds is not None:
            known["seconds"] = round(seconds, 3)
        if run.status.terminal and run.error is not None:
            known["code"] = run.error.code
        self.failure = run.failure
        with logs.about(**known):
            log.info("the run ends" if run.status.terminal else "the attempt ends")

    def _end_by_our_fault(self) -> None:
        """End the run as error, with the text that it has if that can be stored, else without.

        What cannot be stored either way is left to the reaper, when the lease ends.
        """
        error = RunError("internal_error", "A fault of Branchline ended it; the log of its pool says which.")
        for close in (partial(self._close, MessageStatus.PARTIAL), attempts.AttemptResult):
            try:
                result = close()
                ended = self._persist(
                    self._services.database.engine.finish, self._run, RunStatus.ERROR, result, error=error
                )
                self._on_commit(ended)
                self._note_end(ended)
                return self._announce(_Committed(ended, result))
            except AttemptEnded:
                return
            except Exception:
                log.exception("run %s: its end could not be stored or announced", self._run.id)

    # ── announce ────────────────────────────────────────────────────────────

    def _announce(self, committed: _Committed) -> None:
        """Append to the event log what was committed.

        If Redis is unavailable, the reaper announces an end, the next attempt a retry, and a
        greenlet of this process a question.
        """
        run, left = committed.run, committed.result.messages
        if run.status is RunStatus.QUEUED and committed.asked is None:
            # Text that is not appended yet is void; nothing else of this attempt is to follow.
            if self._continued:
                self._services.announcer.requeued(run)
            else:
                self._services.announcer.retried(run, committed.voided)
            return
        self._transcript.mark_committed(left)
        announced = self._relay.close(_last_events(committed), run_hint(run))
        if announced and run.status.terminal:
            self._announced.add(run.id)
        elif not announced and run.status is RunStatus.WAITING:
            gevent.spawn(logs.same(self._announce_question), committed)

    def _announce_question(self, committed: _Committed) -> None:
        """Append the question once Redis is back.

        No other process would do it, and the user cannot answer a question that is not shown.
        """
        run, claim = committed.run, self._attempt.claim
        announcer, asked = self._services.announcer, committed.result.messages
        while True:
            try:
                if announcer.waiting(run, claim.output_state, claim.earlier, asked):
                    return
                gevent.sleep(_RETRY_PAUSE)
            except Exception:
                log.exception("run %s: its question could not be announced; it is tried again", run.id)
                gevent.sleep(_FAULT_PAUSE)

    # ── clean up ────────────────────────────────────────────────────────────

    def _clean_up(self) -> None:
        """Give the child a moment to exit, kill all that it started, stop reading and close its pipes.

        One that is not asked to end yet has the same grace as any: its last handlers may be running.
        """
        self.calls.close()
        child = self._attempt.child
        if child is not None:
            if not self._attempt.stopped:
                child.wait(_LAST_OUTPUT)
            child.stop(0.0 if self._attempt.stopped else self._settings.pool.kill_grace)
        self._relay.stop_reading()
        if child is not None:
            child.close()
