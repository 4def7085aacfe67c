"""Sub-runs: the runs that another run calls, each on a hidden thread of the same workspace.

A call is idempotent by its parent and its id: a later attempt of the parent finds the sub-run
that an earlier one has made. A sub-run has no turn in its pool's backlog. Its slot is one that
its parent does not use while it waits, here or in another pool, so it starts wherever fewer
runs than slots are at work (``docs/explanation/scheduling.md``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import CallChanged, CallRefused, NotFound, StaleAttempt
from runtime.model import Json, Message, Run, RunStatus, State
from runtime.store import backlog, files, messages, runs, states, threads
from runtime.store.backlog import Ticket
from runtime.store.page import Page, after, start_of, within_bytes
from runtime.store.tables import IS_CALL, IS_QUEUED, Id, is_at_work, now
from runtime.store.tables import runs as table


@dataclass(frozen=True, slots=True)
class CallLimits:
    """How many sub-runs a run may have; 0 means none."""

    depth: int
    """How many runs may be above one."""
    in_all: int
    """How many there may be below a run that a client has asked for."""


@dataclass(frozen=True, slots=True)
class Called:
    """The sub-run of a call."""

    run: Run
    states: Sequence[State] = ()
    """What was made for it; empty where an earlier attempt of its parent has made it."""


def create(
    c: Connection,
    parent: Run,
    call_id: str,
    digest: str,
    new_messages: Sequence[states.NewMessage],
    spec: runs.RunSpec,
    limits: CallLimits,
    *,
    taken: bool = False,
) -> Called | None:
    """The sub-run that ``parent`` calls by this id, made if it is new; None if the parent is to end.

    ``digest`` stands for all that is asked for. ``taken``: the caller is going to claim it at once.
    Raises StaleAttempt, CallChanged where the id was used for something else, CallRefused where
    there would be too many, and NotFound where the messages name a file that is not of the parent's thread.
    """
    root_id = parent.root_run_id or parent.id
    own, root = _lock(c, parent, root_id)
    found = c.execute(_FIND, {"this_parent": parent.id, "this_call": call_id}).one_or_none()
    if found is not None:
        run = runs.record(found)
        if run.call_digest != digest:
            raise CallChanged(call_id)
        return Called(run)
    if own.cancel_requested_at is not None:
        return None
    _check(parent, root.calls, limits)
    spec = replace(
        spec,
        count=1,
        priority=parent.priority,
        parent_run_id=parent.id,
        call_id=call_id,
        call_digest=digest,
        root_run_id=root_id,
        call_depth=parent.call_depth + 1,
    )
    called = _add(c, parent, root_id, new_messages, spec, published=taken)
    c.execute(table.update().where(table.c.id.in_({root_id, parent.id})).values(calls=table.c.calls + 1))
    return called


def find(c: Connection, run_ids: Sequence[str]) -> list[Run]:
    """These runs, as they are; for who waits for them."""
    rows = c.execute(sa.select(*runs.COLUMNS).where(table.c.id.in_(list(run_ids))))
    return [runs.record(row) for row in rows]


def called(c: Connection, parent_id: str, call_id: str) -> Run | None:
    """The sub-run that a call has made, if it has."""
    row = c.execute(_FIND, {"this_parent": parent_id, "this_call": call_id}).one_or_none()
    return runs.record(row) if row else None


def output(c: Connection, run: Run) -> list[Message]:
    """What a sub-run has answered: the messages that count of its output state."""
    return messages.of_state(c, run.output_state_id)


def holder(c: Connection, run_id: str) -> str | None:
    """Which process executes a run; None where none does."""
    return c.execute(sa.select(table.c.claimed_by).where(table.c.id == run_id)).scalar_one_or_none()


@dataclass(frozen=True, slots=True)
class Taken:
    """Waiting sub-runs that were marked as taken; who has marked them claims them."""

    tickets: list[Ticket]
    left: bool
    """Whether more of them may wait, for room or because a limit keeps them."""


def take(
    c: Connection,
    pool: str,
    count: int,
    worker_limits: Mapping[str, int],
    per_user: int = 0,
    *,
    workers: Collection[str] | None = None,
) -> Taken:
    """Take up to ``count`` waiting sub-runs of a pool.

    ``worker_limits`` and ``per_user`` as for :func:`backlog.claim_for_publish`. ``workers``: those
    that the caller has; None: any.
    """
    known = [] if workers is None else [table.c.worker_id.in_(list(workers))]
    if not (per_user or worker_limits):
        tickets = _take(c, pool, count, *known)
        return Taken(tickets, len(tickets) == count)
    if not _any_waits(c, pool):
        return Taken([], False)
    # One process at a time counts what is at work and takes, as for what is published.
    backlog.lock(c)
    taken: list[Ticket] = []
    while len(taken) < count and (more := _take(c, pool, 1, *known, *_within(worker_limits, per_user))):
        taken += more
    return Taken(taken, _any_waits(c, pool))


def pools_with_waiting(c: Connection) -> list[str]:
    """Pools for which a sub-run waits that could be taken."""
    return list(c.execute(_POOLS_WITH_WAITING).scalars())


def below(c: Connection, run: Run) -> list[Run]:
    """What was cancelled with a run, and is not announced or still runs."""
    walk = sa.select(table.c.id).where(table.c.parent_run_id == run.id, IS_CALL).cte("walk", recursive=True)
    called = table.alias("called")
    further = sa.select(called.c.id).where(called.c.parent_run_id == walk.c.id, called.c.call_id.is_not(None))
    query = sa.select(*runs.COLUMNS).where(
        table.c.id.in_(sa.select(walk.union_all(further).c.id)),
        table.c.cancel_requested_at.is_not(None),
        table.c.announced_at.is_(None),
    )
    return [runs.record(row) for row in c.execute(query)]


def answer(
    c: Connection, workspace_id: str, run_id: str, confirmation_id: str | None, given: Json
) -> list[Run]:
    """Give a waiting run what it waits for: the run, and those above and below that wait for the same.

    A question of a sub-run is asked by its caller as well, and by that one's. The answer is given to
    all of them, whichever is answered; each is queued again. Raises what :func:`runs.answer` raises.
    """
    asked = runs.get(c, workspace_id, run_id)
    if confirmation_id is not None and confirmation_id != (asked.confirmation or {}).get("id"):
        return [runs.answer(c, workspace_id, run_id, confirmation_id, given)]  # which says why not
    top = asked
    while (above := _asks_for(c, top)) is not None:
        top = above
    # From the top down, as all lock them.
    answered = []
    following: Run | None = top
    while following is not None:
        waits_for = (following.confirmation or {}).get("run_id")
        answered.append(runs.answer(c, workspace_id, following.id, None, given))
        called = runs.find(c, waits_for) if waits_for else None
        if called and (called.parent_run_id, called.status) != (following.id, RunStatus.WAITING):
            called = None
        following = called
    if all(run.id != run_id for run in answered):  # it was answered, or has ended, since we looked
        answered.append(runs.answer(c, workspace_id, run_id, confirmation_id, given))
    return answered


def _asks_for(c: Connection, run: Run) -> Run | None:
    """The caller of a run, if it waits for the answer to a question of that."""
    caller = runs.find(c, run.parent_run_id) if run.call_id and run.parent_run_id else None
    if caller is None or caller.status is not RunStatus.WAITING:
        return None
    return caller if (caller.confirmation or {}).get("run_id") == run.id else None


def children(c: Connection, run_id: str, *, limit: int = 20, cursor: str | None = None) -> Page[Run]:
    """The sub-runs that a run has called itself, newest first."""
    query = sa.select(*runs.COLUMNS).where(table.c.parent_run_id == run_id, IS_CALL)
    values: dict[str, Any] = {"count": limit + 1}
    if cursor:
        query = query.where(after(table.c.created_at, table.c.id))
        values |= start_of(cursor)
    query = query.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(
        sa.bindparam("count", type_=sa.Integer)
    )
    rows = c.execute(within_bytes(query, runs.LARGE, ("created_at", "id"), c.dialect.name), values).all()
    return Page.of(rows, limit, runs.record, lambda row: (row.created_at, row.id))


def all_children(c: Connection, run_id: str) -> list[Run]:
    """The sub-runs that a run has called itself, oldest first: as many as it may have."""
    query = sa.select(*runs.COLUMNS).where(table.c.parent_run_id == run_id, IS_CALL)
    return [runs.record(row) for row in c.execute(query.order_by(table.c.created_at, table.c.id))]


def _lock(c: Connection, parent: Run, root_id: str) -> tuple[Any, Any]:
    """The parent and the root, locked from the top down as :func:`below.cancel` does. Raises StaleAttempt."""
    locked = (
        sa.select(table.c.id, table.c.status, table.c.attempt, table.c.cancel_requested_at, table.c.calls)
        .where(table.c.id.in_({root_id, parent.id}))
        .order_by(table.c.call_depth)
        .with_for_update(key_share=True)
    )
    rows = {row.id: row for row in c.execute(locked)}
    own, root = rows.get(parent.id), rows.get(root_id)
    if own is None or root is None or (own.status, own.attempt) != (RunStatus.RUNNING, parent.attempt):
        raise StaleAttempt
    return own, root


def _check(parent: Run, in_all: int, limits: CallLimits) -> None:
    if parent.call_depth >= limits.depth:
        raise CallRefused(f"Sub-runs may be {limits.depth} deep, and this one would be deeper.")
    if in_all >= limits.in_all:
        raise CallRefused(f"A run may have {limits.in_all} sub-runs in all, and has them.")


def _add(
    c: Connection,
    parent: Run,
    root_id: str,
    new_messages: Sequence[states.NewMessage],
    spec: runs.RunSpec,
    *,
    published: bool,
) -> Called:
    _check_files(c, parent, files.ids_of(new_messages))
    from_thread = c.execute(sa.select(table.c.thread_id).where(table.c.id == root_id)).scalar_one()
    thread = threads.create(
        c,
        workspace_id=parent.workspace_id,
        user_id=parent.user_id,
        worker_id=spec.worker_id,
        called_from=from_thread,
    )
    new_messages = files.name(c, parent.workspace_id, thread.id, new_messages)
    root_state = thread.root_state_id
    made = runs.create(c, thread, parent.user_id, root_state, new_messages, spec, published=published)
    new = [made.input_state] if made.input_is_new else []
    return Called(made.runs[0], [*new, *made.states])


def _check_files(c: Connection, parent: Run, file_ids: Sequence[str]) -> None:
    """A run hands on what its own thread has. Raises NotFound for any other file."""
    there = files.of_thread(c, parent.thread_id, file_ids) if file_ids else {}
    for file_id in file_ids:
        if file_id not in there:
            raise NotFound(f"The thread has no file {file_id}.")


def _any_waits(c: Connection, pool: str) -> bool:
    return bool(c.execute(sa.select(sa.exists().where(*_WAITS, table.c.pool == pool))).scalar())


def _take(c: Connection, pool: str, count: int, *within: Any) -> list[Ticket]:
    waiting = (
        sa.select(table.c.id)
        .where(*_WAITS, table.c.pool == pool, *within)
        # The deepest first: their end lets others go on.
        .order_by(table.c.priority.desc(), table.c.call_depth.desc(), table.c.created_at, table.c.id)
        .limit(count)
        .with_for_update(skip_locked=True)
    )
    ids = list(c.execute(waiting).scalars())
    if not ids:
        return []
    marked = (
        table.update()
        .where(table.c.id.in_(ids), *_WAITS)
        .values(published_at=now())
        .returning(table.c.id, table.c.worker_id, table.c.attempt)
    )
    rows = {row.id: row for row in c.execute(marked)}
    return [Ticket(row.id, pool, row.worker_id, row.attempt + 1) for row in map(rows.get, ids) if row]


def _within(worker_limits: Mapping[str, int], per_user: int) -> list[Any]:
    """That fewer runs than may be are at work, of the user and of the worker of a sub-run."""
    conditions: list[Any] = []
    at_work = table.alias("at_work")
    count = sa.select(sa.func.count()).select_from(at_work).where(is_at_work(at_work))
    if per_user:
        of_user = count.where(at_work.c.user_id == table.c.user_id).scalar_subquery()
        conditions.append(of_user < per_user)
    if worker_limits:
        of_worker = count.where(at_work.c.worker_id == table.c.worker_id).scalar_subquery()
        limit = sa.case(dict(worker_limits), value=table.c.worker_id, else_=sa.literal(1 << 30))
        conditions.append(of_worker < limit)
    return conditions


_WAITS = (
    IS_QUEUED,
    IS_CALL,
    table.c.published_at.is_(None),
    sa.or_(table.c.not_before.is_(None), table.c.not_before <= now()),
)
_POOLS_WITH_WAITING = sa.select(table.c.pool).where(*_WAITS).distinct()
_FIND = sa.select(*runs.COLUMNS).where(
    table.c.parent_run_id == sa.bindparam("this_parent", type_=Id),
    table.c.call_id == sa.bindparam("this_call", type_=sa.Text),
)
