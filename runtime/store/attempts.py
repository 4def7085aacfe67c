"""Attempts: what the pool that holds a run's lease may change.

Every write names the attempt and that it still runs. It is refused with
StaleAttempt, in the same transaction, once that is no longer so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import StaleAttempt
from runtime.model import Json, Message, Run, RunError, RunStatus, State
from runtime.store import (
    below,
    follow_ups,
    messages,
    outbox,
    questions,
    queued_messages,
    saved_values,
    states,
    tables,
)
from runtime.store.dialects import has_member, member
from runtime.store.execute import on
from runtime.store.fence import guarded
from runtime.store.runs import COLUMNS, record
from runtime.store.saved_values import SavedValue
from runtime.store.tables import IS_QUEUED, IS_RUNNING, Id, now, run_logs, run_sends, run_steps, runs
from runtime.store.windows import NO_WINDOWS, Windows, open_window


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that is ours to execute, and what its worker is given."""

    run: Run
    output_state: State
    messages: list[Message]
    """The path from the root to the input state, its newest part, oldest first; before that the goal,
    where the run has a window."""
    earlier: list[Message]
    """The complete messages that earlier attempts of this run wrote, and that count: what led to an
    answered question, and where the attempt goes on with the text of the one before, what that had."""
    open: list[Message]
    """What that was writing, as far as it was stored."""
    saved: list[SavedValue]
    """What earlier attempts of this run have saved."""
    thread: Mapping[str, Json]
    """Its id, title and metadata."""
    data: Json
    """What the worker before has kept; None where there is nothing."""
    title_wanted: bool = False
    """Whether a worker is to name the thread."""

    @property
    def first_position(self) -> int:
        """Of the first message that the attempt adds to its output state."""
        return max((message.position + 1 for message in (*self.earlier, *self.open)), default=0)


def claim(
    c: Connection,
    run_id: str,
    incarnation: str,
    lease: float,
    history: Mapping[str, int],
    *,
    windows: Windows = NO_WINDOWS,
    isolated: bool = False,
    only_published: bool = False,
    only_known: bool = False,
    sandboxes: str = "{}",
) -> Claim | None:
    """Begin the next attempt of a queued run; None where there is nothing to claim.

    ``history`` says how many messages a worker is given, by worker id; "" is the default. ``windows``:
    which runs have a window in place of that.
    Only ``isolated`` it begins an attempt that :func:`needs_isolation`. ``only_published``: leave
    a run whose message is late and that is back in the backlog; where limits hold, it is
    not counted there. ``sandboxes``: JSON of what keeps the runs of each worker in their place, and
    ``only_known``: leave a run whose worker is not in that.
    """
    how = {
        "isolated": isolated,
        "only_published": only_published,
        "only_known": only_known,
        "sandboxes": sandboxes,
    }
    row = c.execute(CLAIM, {"this_run": run_id, "claimant": incarnation, "lease": lease, **how}).one_or_none()
    if row is None:
        return None
    run = record(row)
    *output, data_of, title, metadata, title_wanted = c.execute(
        _CONTEXT, {"output": run.output_state_id}
    ).one()
    size = windows.of(run)
    if size is None:
        window = states.window(c, run.input_state_id, history.get(run.worker_id, history[""]))
    else:
        opened = open_window(on(c), c.dialect.name, run, State(*output).depth, size)
        run, window = replace(run, window=opened.kept), opened.messages
    before = messages.of_state(c, run.output_state_id) if run.attempt > 1 else []
    earlier, open_ones = messages.divided(before)
    saved = saved_values.of_run(c, run.id) if run.attempt > 1 else []
    data = c.execute(states.DATA, {"state": data_of}).scalar_one_or_none() if data_of else None
    thread = {"id": run.thread_id, "title": title, "metadata": metadata}
    return Claim(run, State(*output), window, earlier, open_ones, saved, thread, data, title_wanted)


def needs_isolation(c: Connection, run_id: str) -> str | None:
    """The worker of a run that is due and whose next attempt is to be made in a process of its own.

    That is its last one, after a lost one. None for any other run.
    """
    query = sa.select(runs.c.worker_id).where(runs.c.id == run_id, _IS_DUE, _NEEDS_ISOLATION)
    return c.execute(query).scalar_one_or_none()


def due_worker(c: Connection, run_id: str) -> tuple[str, float] | None:
    """The worker of a run that is due, and for how many seconds that waits; None for any other run."""
    query = sa.select(runs.c.worker_id, runs.c.created_at, now().label("clock")).where(
        runs.c.id == run_id, _IS_DUE
    )
    row = c.execute(query).one_or_none()
    return row and (row.worker_id, (row.clock - row.created_at).total_seconds())


def refuse(c: Connection, run_id: str, error: RunError) -> None:
    """End a queued run that cannot be claimed; the reaper announces it."""
    refused = (
        runs.update()
        .where(runs.c.id == run_id, IS_QUEUED)
        .values(status=RunStatus.ERROR, error=error.encode(), attempt=runs.c.attempt + 1, finished_at=now())
        .returning(*COLUMNS)
    )
    row = c.execute(refused).one_or_none()
    if row is not None:
        if row.calls:
            below.cancel(c, [run_id])
        follow_ups.note(c, record(row))


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A running attempt, as its pool holds it, and its text that has grown."""

    run_id: str
    attempt: int
    open: Sequence[Message] = ()
    usage: Mapping[str, Json] | None = None
    """What the run has used by now, where that has grown."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """What the renewal found out."""

    lost: list[str]
    """Runs that are no longer ours to execute."""
    cancelled: list[str]
    """Runs whose user wants them to end."""


def renew(c: Connection, incarnation: str, held: Sequence[HeldLease], lease: float) -> Renewed:
    """Renew all leases of a pool and save the open text of its runs."""
    if not held:
        return Renewed([], [])
    rows = c.execute(
        runs.update()
        .where(
            runs.c.claimed_by == incarnation,
            IS_RUNNING,
            runs.c.id.in_([h.run_id for h in held]),
        )
        .values(lease_until=now(lease))
        .returning(runs.c.id, runs.c.attempt, runs.c.cancel_requested_at)
    ).all()
    attempts = {row.id: row.attempt for row in rows}
    ours = [h for h in held if attempts.get(h.run_id) == h.attempt]
    messages.save(c, [message for h in ours for message in h.open])
    if grown := [{"this_run": h.run_id, "new_usage": h.usage} for h in ours if h.usage is not None]:
        c.execute(_SAVE_USAGE, grown)
    renewed = {h.run_id for h in ours}
    return Renewed(
        [h.run_id for h in held if h.run_id not in renewed],
        [row.id for row in rows if row.cancel_requested_at is not None and row.id in renewed],
    )


def assert_current(c: Connection, run: Run) -> None:
    """Raise StaleAttempt unless this attempt is still the one that runs."""
    found = c.execute(guarded(sa.select(runs.c.id), run)).one_or_none()
    if found is None:
        raise StaleAttempt


def record_version(c: Connection, run: Run, digest: str, config: Mapping[str, Json]) -> None:
    """Say which version of its worker the attempt executes, with its config as that has checked it."""
    c.execute(guarded(runs.update(), run).values(worker_digest=digest, config=dict(config)))


def save_messages(c: Connection, run: Run, done: Sequence[Message]) -> None:
    """Commit messages of a running attempt."""
    query = guarded(sa.select(runs.c.id), run)
    if c.execute(query.with_for_update()).one_or_none() is None:
        raise StaleAttempt
    messages.save(c, done)


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What an attempt leaves behind besides its status."""

    messages: Sequence[Message] = ()
    steps: Sequence[tuple[int, str, float]] = ()
    """Number from 1, description, and how many seconds ago it was reported."""
    log: str = ""
    log_truncated: bool = False
    first_delta: float | None = None
    """How many seconds ago its first delta came; None without one."""
    usage: Mapping[str, Json] | None = None
    """What the run has used by now; None leaves it as it was."""
    data: Sequence[Json] = ()
    """What its worker keeps for the next one, if it does: one value, of which None is nothing."""
    finish: str | None = None
    """Why its session is to go on no more."""
    sent: Sequence[Json] = ()
    """What its worker sends to others of its system, in order; it counts if the run succeeds."""
    inbox_reads: int | None = None
    """How often it has looked into its inbox; None where no more looks than that are committed."""
    title_wanted: bool = False
    """Whether a worker is to name its thread, as that was when it began."""


def finish(
    c: Connection,
    run: Run,
    status: RunStatus,
    remains: AttemptResult,
    *,
    error: RunError | None = None,
) -> Run:
    """End a running attempt with a terminal ``status`` and keep what it left.

    What is below the run is cancelled with it.
    """
    change = {
        "this_run": run.id,
        "this_attempt": run.attempt,
        "new_status": status,
        "new_error": error.encode() if error else None,
        "new_usage": remains.usage,
        "first_delta": remains.first_delta,
        "new_finish": remains.finish,
    }
    row = c.execute(_FINISH, change).one_or_none()
    if row is None:
        raise StaleAttempt
    finished_at, cancel_requested_at, steered, calls = row
    keep(c, run, remains)
    for value in remains.data:
        states.set_data(c, run.output_state_id, value)
    if remains.sent and status is RunStatus.SUCCESS:
        c.execute(run_sends.insert(), {"run_id": run.id, "sent": list(remains.sent)})
    if calls:
        below.cancel(c, [run.id])
    after = ended(run, status, error, remains, finished_at, cancel_requested_at, steered)
    if after.steered:
        queued_messages.ended(c, after)
    follow_ups.note(c, after)
    if remains.title_wanted and status is RunStatus.SUCCESS:
        outbox.put(c, follow_ups.NAME, run.thread_id, {"thread_id": run.thread_id})
    return after


def ended(
    run: Run,
    status: RunStatus,
    error: RunError | None,
    remains: AttemptResult,
    finished_at: datetime,
    cancel_requested_at: datetime | None,
    steered: bool = False,
) -> Run:
    """The run after its end."""
    return replace(
        run,
        status=status,
        error=error,
        usage=run.usage if remains.usage is None else remains.usage,
        lease_until=None,
        claimed_by=None,
        finished_at=finished_at,
        cancel_requested_at=cancel_requested_at,
        finish_reason=remains.finish,
        steered=steered,
    )


def wait(
    c: Connection,
    run: Run,
    confirmation: Mapping[str, Json],
    remains: AttemptResult,
) -> Run:
    """The worker asks its user something; the attempt ends and holds nothing.

    Where its user wants it to end, it ends; so do :func:`retry` and :func:`hand_back`. A question of
    a sub-run that is settled meanwhile is not asked: the run is queued again, and has the outcome.
    """
    if _is_to_end(c, run):
        return finish(c, run, RunStatus.CANCELLED, remains)
    confirmation, outcome = questions.before_asking(c, run, confirmation)
    waiting = _wait(c, run, confirmation, remains)
    if outcome:
        return record(questions.settle(c, run.id, waiting, outcome, *COLUMNS))
    follow_ups.note(c, waiting)
    return waiting


def _wait(c: Connection, run: Run, confirmation: Mapping[str, Json], remains: AttemptResult) -> Run:
    return _end(
        c,
        run,
        remains,
        status=RunStatus.WAITING,
        confirmation=confirmation,
        last_failure=None,
        first_delta_at=_first_delta(sa.literal(remains.first_delta, sa.Float)),
    )


def retry(
    c: Connection,
    run: Run,
    backoff: float,
    error: RunError,
    remains: AttemptResult,
    *,
    lost: bool = False,
    continued: bool = False,
) -> Run:
    """The attempt failed in a way that another one may mend; its text is void unless it is ``continued``.

    ``error``: why, which its user is shown while the run waits for ``backoff`` seconds.
    ``lost``: through no fault of the worker, as far as is known, so that its last attempt
    :func:`needs_isolation`.
    """
    if _is_to_end(c, run):
        return finish(c, run, RunStatus.CANCELLED, remains)
    given_back = _end(
        c,
        run,
        remains,
        status=RunStatus.QUEUED,
        failures=runs.c.failures + 1,
        reaps=runs.c.reaps + int(lost),
        published_at=None,
        not_before=now(backoff),
        last_failure=error.encode(),
    )
    if not continued:
        messages.void(c, run)
    return given_back


def hand_back(c: Connection, run: Run, remains: AttemptResult, *, continued: bool = False) -> Run:
    """A pool that drains gives the run to another one; that costs no attempt."""
    if _is_to_end(c, run):
        return finish(c, run, RunStatus.CANCELLED, remains)
    given_back = _end(c, run, remains, status=RunStatus.QUEUED, published_at=None, last_failure=None)
    if not continued:
        messages.void(c, run)
    return given_back


def _is_to_end(c: Connection, run: Run) -> bool:
    """Whether the run's user wants it to end; until we commit nobody can wish so."""
    wish = guarded(sa.select(runs.c.cancel_requested_at), run).with_for_update()
    row = c.execute(wish).one_or_none()
    if row is None:
        raise StaleAttempt
    return row.cancel_requested_at is not None


def _end(c: Connection, run: Run, remains: AttemptResult, **values: Any) -> Run:
    if remains.usage is not None:
        values["usage"] = remains.usage
    if remains.inbox_reads is not None:
        values["inbox_reads"] = remains.inbox_reads
    row = c.execute(
        guarded(runs.update(), run).values(lease_until=None, claimed_by=None, **values).returning(*COLUMNS)
    ).one_or_none()
    if row is None:
        raise StaleAttempt
    keep(c, run, remains)
    return record(row)


def keep(c: Connection, run: Run, remains: AttemptResult) -> None:
    """Keep what an attempt left; ``run`` as it was while it ran."""
    messages.save(c, remains.messages)
    attempt = {"run_id": run.id, "attempt": run.attempt}
    if remains.steps:
        rows = [
            {**attempt, "number": number, "description": text, "since": -ago}
            for number, text, ago in remains.steps
        ]
        c.execute(_INSERT_STEPS, rows)
    if remains.log:
        c.execute(run_logs.insert(), {**attempt, "text": remains.log, "truncated": remains.log_truncated})


def _first_delta(ago: Any) -> Any:
    """When the first delta came; where the run has asked its user something since, that before stands."""
    return sa.func.coalesce(runs.c.first_delta_at, now(-sa.cast(ago, sa.Float)))


_RUN = sa.bindparam("this_run", type_=Id)
_IS_DUE = sa.and_(
    IS_QUEUED,
    sa.or_(runs.c.not_before.is_(None), runs.c.not_before <= now()),
)
_NEEDS_ISOLATION = sa.and_(runs.c.reaps > 0, runs.c.failures + 1 >= runs.c.max_attempts)
CLAIM = (
    runs.update()
    .where(
        runs.c.id == _RUN,
        _IS_DUE,
        sa.or_(sa.bindparam("isolated", type_=sa.Boolean), sa.not_(_NEEDS_ISOLATION)),
        sa.or_(runs.c.published_at.is_not(None), ~sa.bindparam("only_published", type_=sa.Boolean)),
        sa.or_(
            ~sa.bindparam("only_known", type_=sa.Boolean),
            has_member(sa.bindparam("sandboxes", type_=sa.Text), runs.c.worker_id),
        ),
    )
    .values(
        status=RunStatus.RUNNING,
        attempt=runs.c.attempt + 1,
        lease_until=now(sa.bindparam("lease", type_=sa.Float)),
        claimed_by=sa.bindparam("claimant", type_=sa.Text),
        sandbox=member(sa.bindparam("sandboxes", type_=sa.Text), runs.c.worker_id),
        started_at=sa.func.coalesce(runs.c.started_at, now()),
    )
    .returning(*COLUMNS)
)
CONTEXT = (
    tables.states.c.data_of,
    tables.threads.c.title,
    tables.threads.c.metadata,
    tables.threads.c.title_wanted,
)
"""What a claim reads beside the output state."""
_CONTEXT = (
    sa.select(*states.COLUMNS, *CONTEXT)
    .join(tables.threads, tables.threads.c.id == tables.states.c.thread_id)
    .where(tables.states.c.id == sa.bindparam("output", type_=Id))
)
_FINISH = (
    runs.update()
    .where(runs.c.id == _RUN, runs.c.attempt == sa.bindparam("this_attempt", type_=sa.Integer), IS_RUNNING)
    .values(
        status=sa.bindparam("new_status", type_=sa.Text),
        error=sa.bindparam("new_error", type_=runs.c.error.type),
        usage=sa.func.coalesce(sa.bindparam("new_usage", type_=runs.c.usage.type), runs.c.usage),
        first_delta_at=_first_delta(sa.bindparam("first_delta", type_=sa.Float)),
        finished_at=now(),
        lease_until=None,
        claimed_by=None,
        finish_reason=sa.bindparam("new_finish", type_=sa.Text),
    )
    .returning(runs.c.finished_at, runs.c.cancel_requested_at, runs.c.steered, runs.c.calls)
)
_SAVE_USAGE = (
    runs.update().where(runs.c.id == _RUN).values(usage=sa.bindparam("new_usage", type_=runs.c.usage.type))
)
_INSERT_STEPS = run_steps.insert().values(created_at=now(sa.bindparam("since", type_=sa.Float)))
