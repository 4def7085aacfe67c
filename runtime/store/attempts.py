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
from runtime.store import messages, states
from runtime.store.dialects import member
from runtime.store.runs import COLUMNS, record
from runtime.store.tables import IS_QUEUED, IS_RUNNING, Id, now, run_logs, run_steps, runs


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that is ours to execute, and what its worker is given."""

    run: Run
    output_state: State
    messages: list[Message]
    """The path from the root to the input state, its newest part, oldest first."""
    earlier: list[Message]
    """What earlier attempts of this run wrote before they waited for an answer."""


def claim(
    c: Connection,
    run_id: str,
    incarnation: str,
    lease: float,
    history: Mapping[str, int],
    *,
    isolated: bool = False,
    only_published: bool = False,
    sandboxes: str = "{}",
) -> Claim | None:
    """Begin the next attempt of a queued run; None where there is nothing to claim.

    ``history`` says how many messages a worker is given, by worker id; "" is the default.
    Only ``isolated`` it begins an attempt that :func:`needs_isolation`. ``only_published``: leave
    a run whose message is late and that is back in the backlog; where limits hold, it is
    not counted there. ``sandboxes``: JSON of what keeps the runs of each worker in their place.
    """
    how = {"isolated": isolated, "only_published": only_published, "sandboxes": sandboxes}
    row = c.execute(CLAIM, {"this_run": run_id, "claimant": incarnation, "lease": lease, **how}).one_or_none()
    if row is None:
        return None
    run = record(row)
    output = states.by_id(c, run.output_state_id)
    window = states.window(c, run.input_state_id, history.get(run.worker_id, history[""]))
    earlier = messages.of_state(c, run.output_state_id) if run.answers else []
    return Claim(run, output, window, earlier)


def needs_isolation(c: Connection, run_id: str) -> bool:
    """Whether a run is due whose next attempt is to be made in a cell: its last one, after a lost one."""
    query = sa.select(runs.c.id).where(runs.c.id == run_id, _IS_DUE, _NEEDS_ISOLATION)
    return c.execute(query).one_or_none() is not None


def refuse(c: Connection, run_id: str, error: RunError) -> None:
    """End a queued run that cannot be claimed; the reaper announces it."""
    c.execute(
        runs.update()
        .where(runs.c.id == run_id, IS_QUEUED)
        .values(status=RunStatus.ERROR, error=error.encode(), attempt=runs.c.attempt + 1, finished_at=now())
    )


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A running attempt, as its pool holds it, and its text that has grown."""

    run_id: str
    attempt: int
    open: Sequence[Message] = ()


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


def record_version(c: Connection, run: Run, digest: str) -> None:
    """Say which version of its worker the attempt executes."""
    c.execute(guarded(runs.update(), run).values(worker_digest=digest))


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


def finish(
    c: Connection,
    run: Run,
    status: RunStatus,
    remains: AttemptResult,
    *,
    error: RunError | None = None,
    usage: Mapping[str, Json] | None = None,
) -> Run:
    """End a running attempt with a terminal ``status`` and keep what it left."""
    change = {
        "this_run": run.id,
        "this_attempt": run.attempt,
        "new_status": status,
        "new_error": error.encode() if error else None,
        "new_usage": usage,
    }
    row = c.execute(_FINISH, change).one_or_none()
    if row is None:
        raise StaleAttempt
    keep(c, run, remains)
    return ended(run, status, error, usage, *row)


def ended(
    run: Run,
    status: RunStatus,
    error: RunError | None,
    usage: Mapping[str, Json] | None,
    finished_at: datetime,
    cancel_requested_at: datetime | None,
) -> Run:
    """The run after its end."""
    return replace(
        run,
        status=status,
        error=error,
        usage=usage,
        lease_until=None,
        claimed_by=None,
        finished_at=finished_at,
        cancel_requested_at=cancel_requested_at,
    )


def wait(
    c: Connection,
    run: Run,
    confirmation: Mapping[str, Json],
    usage: Mapping[str, Json] | None,
    remains: AttemptResult,
) -> Run:
    """The worker asks its user something; the attempt ends and holds nothing.

    Where its user wants it to end, it ends; so do :func:`retry` and :func:`hand_back`.
    """
    if _is_to_end(c, run):
        return finish(c, run, RunStatus.CANCELLED, remains, usage=usage)
    return _end(
        c,
        run,
        remains,
        status=RunStatus.WAITING,
        confirmation=confirmation,
        usage=usage,
        last_failure=None,
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
    row = c.execute(
        guarded(runs.update(), run).values(lease_until=None, claimed_by=None, **values).returning(*COLUMNS)
    ).one_or_none()
    if row is None:
        raise StaleAttempt
    keep(c, run, remains)
    return record(row)


def guarded(statement: Any, run: Run) -> Any:
    """``statement`` for as long as this attempt is the one that runs."""
    return statement.where(runs.c.id == run.id, runs.c.attempt == run.attempt, IS_RUNNING)


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
_FINISH = (
    runs.update()
    .where(runs.c.id == _RUN, runs.c.attempt == sa.bindparam("this_attempt", type_=sa.Integer), IS_RUNNING)
    .values(
        status=sa.bindparam("new_status", type_=sa.Text),
        error=sa.bindparam("new_error", type_=runs.c.error.type),
        usage=sa.bindparam("new_usage", type_=runs.c.usage.type),
        finished_at=now(),
        lease_until=None,
        claimed_by=None,
    )
    .returning(runs.c.finished_at, runs.c.cancel_requested_at)
)
_INSERT_STEPS = run_steps.insert().values(created_at=now(sa.bindparam("since", type_=sa.Float)))
