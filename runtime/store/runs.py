"""Runs: making them, finding them, and what their owners may do with them.

A change of status is one statement that is also its own guard: it names the
status it expects, so of two that race one finds no row. The executor's changes are
in ``attempts``, the reaper's in ``recovery``, publishing in ``backlog``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import Conflict, NotFound, QueueFull
from runtime.model import Json, Run, RunError, RunStatus, State, Thread, new_id
from runtime.store import backlog, below, follow_ups, questions, states
from runtime.store.page import Page, after, start_of, within_bytes
from runtime.store.tables import IS_CALL, IS_QUEUED, Id, now, run_logs, run_steps, runs, threads
from runtime.store.tables import states as states_table

COLUMNS = [runs.c[name] for name in Run.__dataclass_fields__]


def record(row: Sequence[Any]) -> Run:
    """The record of a row that begins with :data:`COLUMNS`."""
    values = list(row[: len(COLUMNS)])
    for place, decode in _DECODED:
        values[place] = decode(values[place])
    return Run(*values)


LARGE = ("config", "args", "error", "last_failure", "usage", "confirmation", "answers", "message")
"""Columns whose size the user or the worker determines."""
_INSERT = runs.insert()
_STORED = [column.name for column in COLUMNS]
_DECODED: list[tuple[int, Callable[[Any], Any]]] = [
    (_STORED.index("status"), RunStatus),
    (_STORED.index("error"), RunError.decode),
    (_STORED.index("last_failure"), RunError.decode),
    (_STORED.index("answers"), tuple),
]


def _values(run: Run) -> dict[str, Any]:
    values = {name: getattr(run, name) for name in _STORED}
    return {**values, "answers": list(run.answers)}


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What is asked for; already validated."""

    worker_id: str
    worker_digest: str
    pool: str
    config: Mapping[str, Json]
    args: Json
    max_attempts: int
    timeout_seconds: float
    priority: int = 0
    count: int = 1
    parent_run_id: str | None = None
    call_id: str | None = None
    """Of a sub-run, as the following."""
    call_digest: str | None = None
    root_run_id: str | None = None
    call_depth: int = 0
    window: Mapping[str, Json] | None = None
    """How much of the conversation it is given, see :meth:`windows.Size.encode`; None: as its worker says."""
    session_id: str | None = None
    """Of a turn of a session, as the following."""
    turn: int | None = None
    awaited_by: str | None = None
    """The task of the outbox that its end wakes."""
    message: Mapping[str, Json] | None = None
    """The message of a system that it is to handle."""
    run_id: str | None = None
    """The id of the only run, where something is to name it before it is made; None: a new one."""

    def new_run_ids(self) -> list[str]:
        """The ids of the runs that are to be made."""
        return [self.run_id] if self.run_id else [new_id() for _ in range(self.count)]


@dataclass(frozen=True, slots=True)
class Created:
    """What a request for runs made."""

    runs: list[Run]
    states: list[State]
    """The output states, one per run, in order."""
    input_state: State
    input_is_new: bool
    published: bool
    """Whether the runs are marked as published, so that the caller must publish them."""
    room: bool = False
    """Whether they are not, but the pool has room: the caller publishes from the backlog."""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much may wait; 0 means any number."""

    per_user: int = 0
    per_pool: int = 0
    lease: float = 10.0
    """Seconds within which a pool must have reported itself to count."""
    limited: bool = False
    """Whether a limit holds on how many may run at once: then only the backlog publishes them."""


def accept(
    c: Connection,
    thread: Thread,
    user_id: str,
    input_state_id: str,
    new_messages: Sequence[states.NewMessage],
    spec: RunSpec,
    limits: QueueLimits,
) -> Created:
    """Queue the runs of ``spec``: :func:`create` after a look at the queue.

    They are marked as published where the pool has room for them. Raises QueueFull
    where a bound would be exceeded, and what :func:`create` raises.
    """
    queue = backlog.queue_stats(c, spec.pool, user_id, limits.lease)
    admit(queue, spec.pool, spec.count, limits)
    published = queue.room >= spec.count and not limits.limited
    created = create(c, thread, user_id, input_state_id, new_messages, spec, published=published)
    room = queue.slots > queue.published and (limits.limited or not queue.waiting)
    return replace(created, room=room and not published)


def create(
    c: Connection,
    thread: Thread,
    user_id: str,
    input_state_id: str,
    new_messages: Sequence[states.NewMessage],
    spec: RunSpec,
    *,
    published: bool,
) -> Created:
    """Add the input state (if messages were sent), the output states and their runs.

    ``published``: the caller is going to publish them at once. Raises what
    :func:`states.add` raises.
    """
    run_ids = spec.new_run_ids()
    if new_messages:
        input_state, outputs = states.add_turn(
            c, thread_id=thread.id, parent_id=input_state_id, messages=new_messages, run_ids=run_ids
        )
    else:
        outputs = states.add(c, thread_id=thread.id, parent_id=input_state_id, run_ids=run_ids)
        input_state = states.get(c, thread.workspace_id, input_state_id)
    made = queued(thread, user_id, input_state.id, outputs, spec, published=published)
    c.execute(_INSERT, [_values(run) for run in made])
    return Created(made, outputs, input_state, bool(new_messages), published)


def queued(
    thread: Thread,
    user_id: str,
    input_state_id: str,
    outputs: Sequence[State],
    spec: RunSpec,
    *,
    published: bool,
) -> list[Run]:
    """The runs that fill these states, as they are when they are accepted."""
    return [
        Run(
            id=output.run_id or new_id(),
            thread_id=thread.id,
            workspace_id=thread.workspace_id,
            user_id=user_id,
            parent_run_id=spec.parent_run_id,
            input_state_id=input_state_id,
            output_state_id=output.id,
            worker_id=spec.worker_id,
            worker_digest=spec.worker_digest,
            pool=spec.pool,
            config=spec.config,
            args=spec.args,
            status=RunStatus.QUEUED,
            attempt=0,
            failures=0,
            max_attempts=spec.max_attempts,
            timeout_seconds=spec.timeout_seconds,
            priority=spec.priority,
            created_at=output.created_at,
            published_at=output.created_at if published else None,
            call_id=spec.call_id,
            call_digest=spec.call_digest,
            root_run_id=spec.root_run_id,
            call_depth=spec.call_depth,
            window=spec.window,
            session_id=spec.session_id,
            turn=spec.turn,
            awaited_by=spec.awaited_by,
            message=spec.message,
        )
        for output in outputs
    ]


def admit(queue: backlog.QueueStats, pool: str, count: int, limits: QueueLimits) -> None:
    """Raise QueueFull where ``count`` more queued runs would exceed a bound."""
    if limits.per_user and queue.of_user + count > limits.per_user:
        raise QueueFull(queue.of_user, limits.per_user)
    if limits.per_pool and queue.of_pool + count > limits.per_pool:
        raise QueueFull(queue.of_pool, limits.per_pool, pool)


IS_SHOWN = (
    sa.exists()
    .where(threads.c.id == runs.c.thread_id, threads.c.deleted_at.is_(None), threads.c.titles.is_(None))
    .correlate(runs)
)
"""That users see a run: those of a deleted thread are gone with it, and those of helper threads too."""

_THIS_RUN = runs.c.id == sa.bindparam("this_run", type_=Id)
_FIND = sa.select(*COLUMNS).where(_THIS_RUN)
GET = _FIND.where(runs.c.workspace_id == sa.bindparam("workspace", type_=Id), IS_SHOWN)


def get(c: Connection, workspace_id: str, run_id: str) -> Run:
    """The run; NotFound where it is not there, of another workspace, or not shown to users."""
    return record_or_raise(c.execute(GET, {"this_run": run_id, "workspace": workspace_id}).one_or_none())


def record_or_raise(row: Sequence[Any] | None) -> Run:
    """The record of a row of the table; raises NotFound where there is none."""
    if row is None:
        raise NotFound("There is no such run.")
    return record(row)


def find(c: Connection, run_id: str) -> Run | None:
    """The run, whoever's it is; for the processes of the system itself."""
    row = c.execute(_FIND, {"this_run": run_id}).one_or_none()
    return record(row) if row else None


def listing(
    c: Connection,
    workspace_id: str | None,
    *,
    status: RunStatus | None = None,
    worker_id: str | None = None,
    thread_id: str | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> Page[Run]:
    """Runs, newest first: those that a workspace's user sees, or all where ``workspace_id`` is None.

    Sub-runs are not among those of a workspace: :func:`calls.children` lists those of a run.
    """
    given = {
        "workspace_id": workspace_id,
        "status": status,
        "worker_id": worker_id,
        "thread_id": thread_id,
    }
    filters = {name: value for name, value in given.items() if value is not None}
    values = {f"the_{name}": value for name, value in filters.items()} | {"count": limit + 1}
    if cursor:
        values |= start_of(cursor)
    rows = c.execute(_listed(c.dialect.name, tuple(filters), bool(cursor)), values).all()
    return Page.of(rows, limit, record, lambda row: (row.created_at, row.id))


@cache
def _listed(dialect: str, filters: tuple[str, ...], continued: bool) -> sa.Select[Any]:
    """The runs that have given values in these columns. Made once, as the list of threads is."""
    query = (
        sa.select(*COLUMNS)
        .where(*(runs.c[name] == sa.bindparam(f"the_{name}", type_=runs.c[name].type) for name in filters))
        .order_by(runs.c.created_at.desc(), runs.c.id.desc())
        .limit(sa.bindparam("count", type_=sa.Integer))
    )
    if "workspace_id" in filters:
        query = query.where(IS_SHOWN, ~IS_CALL)
    if continued:
        query = query.where(after(runs.c.created_at, runs.c.id))
    return within_bytes(query, LARGE, ("created_at", "id"), dialect)


def of_states(c: Connection, state_ids: Iterable[str]) -> list[Run]:
    """The runs that fill these states."""
    filling = sa.select(states_table.c.run_id).where(states_table.c.id.in_(list(state_ids)))
    return [record(row) for row in c.execute(sa.select(*COLUMNS).where(runs.c.id.in_(filling)))]


def step_counts(c: Connection, run_ids: Iterable[str]) -> dict[str, int]:
    """How many steps the last attempt of each run reported, where it reported any."""
    last = (run_steps.c.run_id == runs.c.id, run_steps.c.attempt == runs.c.attempt)
    query = (
        sa.select(run_steps.c.run_id, sa.func.count())
        .join(runs, sa.and_(*last))
        .where(run_steps.c.run_id.in_(list(run_ids)))
        .group_by(run_steps.c.run_id)
    )
    return {row[0]: row[1] for row in c.execute(query)}


def of_token(c: Connection, run_id: str, attempt: int) -> Run | None:
    """The run if it is running this very attempt, for a child that shows its token."""
    run = find(c, run_id)
    return run if run and run.status is RunStatus.RUNNING and run.attempt == attempt else None


def logs(c: Connection, run_id: str) -> list[dict[str, Json]]:
    """What each attempt wrote besides its messages, earliest attempt first."""
    query = sa.select(run_logs).where(run_logs.c.run_id == run_id).order_by(run_logs.c.attempt)
    return [{"attempt": r.attempt, "text": r.text, "truncated": r.truncated} for r in c.execute(query)]


def steps(c: Connection, run_id: str) -> list[dict[str, Json]]:
    """What the worker reported, in order."""
    query = (
        sa.select(run_steps)
        .where(run_steps.c.run_id == run_id)
        .order_by(run_steps.c.attempt, run_steps.c.number)
    )
    return [
        {"attempt": r.attempt, "number": r.number, "description": r.description, "at": r.created_at}
        for r in c.execute(query)
    ]


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What came of a request to cancel a run."""

    run: Run
    """As it is now."""
    changed: bool
    """Whether it had not ended before."""
    released: Sequence[Run] = ()
    """Runs above it that waited for the answer to its question, and go on without."""


def cancel(c: Connection, workspace_id: str | None, run_id: str) -> Cancelled:
    """End a run that holds no process; ask a running one to end; leave an ended one.

    ``workspace_id``: whose user asks for it; None for the system itself, which finds any run.
    Raises NotFound.
    """
    which = [runs.c.id == run_id]
    if workspace_id is not None:
        which += [runs.c.workspace_id == workspace_id, IS_SHOWN]
    above = questions.lock_above(c, run_id)
    changed = _cancel(c, *which)
    if not changed:
        found = find(c, run_id) if workspace_id is None else get(c, workspace_id, run_id)
        if found is None:
            raise NotFound("There is no such run.")
        return Cancelled(found, changed=False)
    run = changed[0]
    withdrawn = questions.withdraw_above(c, above, run_id, *COLUMNS) if run.status.terminal else ()
    released = [record(row) for row in withdrawn]
    follow_ups.note(c, *released)
    return Cancelled(run, changed=True, released=released)


def cancel_all(c: Connection, thread_id: str) -> list[Run]:
    """The same for every run of a thread that has not ended. Returns them as they are now."""
    return _cancel(c, runs.c.thread_id == thread_id)


def _cancel(c: Connection, *which: Any) -> list[Run]:
    changed = list(c.execute(below.CANCEL.where(*which).returning(*COLUMNS)))
    callers = [row.id for row in changed if row.calls]
    if callers:
        changed += below.cancel(c, callers, *COLUMNS)
    cancelled = [record(row) for row in changed]
    follow_ups.note(c, *cancelled)
    return cancelled


def answer(c: Connection, workspace_id: str, run_id: str, confirmation_id: str | None, given: Json) -> Run:
    """Give a waiting run what it waits for; it is queued again.

    Raises Conflict where it does not wait, or waits for something else.
    """
    query = sa.select(*COLUMNS).where(runs.c.id == run_id, runs.c.workspace_id == workspace_id, IS_SHOWN)
    run = record_or_raise(c.execute(query.with_for_update()).one_or_none())
    asked = run.confirmation or {}
    if run.status is not RunStatus.WAITING:
        raise Conflict(_why_not_waiting(run, confirmation_id))
    if confirmation_id not in (None, asked.get("id")):
        raise Conflict("The run waits for the answer to another question.")
    answered = record(questions.settle(c, run_id, run, {"answer": given}, *COLUMNS))
    follow_ups.note(c, answered)
    return answered


def _why_not_waiting(run: Run, confirmation_id: str | None) -> str:
    last = run.answers[-1] if run.answers else {}
    is_meant = not run.status.terminal and confirmation_id in (None, last.get("confirmation_id"))
    if last.get("withdrawn") and is_meant:
        return "The question was withdrawn: the sub-run that asked it has ended."
    return f"The run is not waiting for an answer; it is {run.status}."


def oldest_queued(c: Connection) -> dict[str, float]:
    """Seconds that the oldest queued run of each pool has waited."""
    query = (
        sa.select(runs.c.pool, sa.func.min(runs.c.created_at), now()).where(IS_QUEUED).group_by(runs.c.pool)
    )
    return {pool: (clock - oldest).total_seconds() for pool, oldest, clock in c.execute(query)}
