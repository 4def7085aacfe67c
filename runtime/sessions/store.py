"""The SQL of sessions. Whoever changes one has locked it, or names the revision that it was read with.

So of two writers one is refused.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import Conflict, NotFound, SessionFull
from runtime.model import Json, Message, Run, RunStatus, Thread, User
from runtime.sessions import model
from runtime.sessions.model import By, Session, Status, Transition, Wish
from runtime.sessions.tables import IS_OPEN, session_transitions, sessions
from runtime.store import messages, outbox, queued_messages, turns
from runtime.store import runs as all_runs
from runtime.store import threads as all_threads
from runtime.store.engines.engine import dumps
from runtime.store.execute import Execute
from runtime.store.page import Page, decode_cursor, number_of
from runtime.store.tables import messages as tree
from runtime.store.tables import now, runs, states, threads, users

_COLUMNS = [sessions.c[name] for name in Session.__dataclass_fields__]
_LATE = 10.0
"""Seconds after the end of a turn in which its own task is carried out."""
_USER = [users.c[name] for name in User.__dataclass_fields__]
_HISTORY = [session_transitions.c[name] for name in Transition.__dataclass_fields__]


_CHANGING = [
    name
    for name in Session.__dataclass_fields__
    if name not in ("id", "thread_id", "workspace_id", "user_id", "created_at", "updated_at", "running_since")
]
_CHANGED = ", ".join(f'"{name}"' for name in _CHANGING).encode()

# A move in one statement of PostgreSQL; what it writes is the same as that of the statements below.
_GUARD = b"""
    SELECT FROM thread_sessions WHERE id = %(session_id)s::uuid AND revision = %(before)s::int FOR UPDATE
"""
_CHANGES = (
    b"""moved AS (
    UPDATE thread_sessions SET ("""
    + _CHANGED
    + b""") = (
               SELECT """
    + _CHANGED
    + b""" FROM json_populate_record(NULL::thread_sessions, %(after)s::json)
           ),
           updated_at = moment, running_since = CASE %(after)s::json->>'status' WHEN 'running' THEN moment END
    FROM parent WHERE id = %(session_id)s::uuid
), noted AS (
    INSERT INTO session_transitions (session_id, number, from_status, to_status, "by", user_id, run_id,
                                     code, message, created_at)
    SELECT session_id, number, from_status, to_status, "by", user_id, run_id, code, message, moment
    FROM parent, json_populate_recordset(NULL::session_transitions, %(entries)s::json)
)"""
)


def create(c: Connection, thread: Thread, user_id: str, tip_state_id: str, **values: Any) -> Session:
    """The session of a thread. Raises Conflict where it has one."""
    if c.execute(sa.select(sessions.c.id).where(sessions.c.thread_id == thread.id)).first():
        raise Conflict("The thread has a session already.")
    made = (
        sessions.insert()
        .values(
            id=str(uuid.uuid4()),
            thread_id=thread.id,
            workspace_id=thread.workspace_id,
            user_id=user_id,
            status=Status.INIT,
            turn=0,
            transition=0,
            revision=0,
            tip_state_id=tip_state_id,
            tip_is_set=False,
            progress={},
            created_at=now(),
            updated_at=now(),
            **values,
        )
        .returning(*_COLUMNS)
    )
    try:
        return _record(c.execute(made).one())
    except sa.exc.IntegrityError:
        raise Conflict("The thread has a session already.") from None


def get(c: Connection, workspace_id: str, thread_id: str, *, lock: bool = False) -> Session:
    """The session of a thread that is not deleted. Raises NotFound.

    ``lock``: nobody else changes it until this transaction ends.
    """
    query = (
        sa.select(*_COLUMNS)
        .join(threads, threads.c.id == sessions.c.thread_id)
        .where(
            sessions.c.workspace_id == workspace_id,
            sessions.c.thread_id == thread_id,
            threads.c.deleted_at.is_(None),
        )
    )
    if lock:
        query = query.with_for_update(of=sessions)
    row = c.execute(query).one_or_none()
    if row is None:
        raise NotFound("The thread has no session.")
    return _record(row)


def lock(c: Connection, session_id: str) -> Session | None:
    """The session, whoever's it is, which nobody else changes until this transaction ends."""
    row = c.execute(_LOCK, {"session": session_id}).one_or_none()
    return _record(row) if row else None


def find(c: Connection, session_id: str) -> Session | None:
    """The session, whoever's it is."""
    row = c.execute(_FIND, {"session": session_id}).one_or_none()
    return _record(row) if row else None


@dataclass(frozen=True, slots=True)
class Turn:
    """A run with the session whose turn it is, who has made that, and its thread."""

    run: Run
    session: Session
    user: User
    thread: Thread
    """Also one that is deleted."""
    result: Result | None
    """None unless the run has ended and is the last turn of its session."""


@dataclass(frozen=True, slots=True)
class Result:
    """What there is of a turn that has ended, beside its run."""

    said: Sequence[Message]
    """Only in a session that goes on by itself."""
    below: Sequence[tuple[Mapping[str, Json], Mapping[str, Json] | None]]
    """Config and usage of each sub-run below its run, at any depth."""


def turn(execute: Execute, run_id: str) -> Turn | None:
    """None where the run is no turn."""
    rows = execute(_TURN, {"run": run_id})
    if not rows:
        return None
    left = list(rows[0])
    of_run, of_session, of_user, of_thread = (
        [left.pop(0) for _ in columns] for columns in (all_runs.COLUMNS, _COLUMNS, _USER, all_threads.COLUMNS)
    )
    run, session = all_runs.record(of_run), _record(of_session)
    is_last = run.finished_at is not None and session.run_id == run.id and session.is_open
    found = result(execute, session, run) if is_last else None
    return Turn(run, session, User(*of_user), all_threads.record(of_thread), found)


def result(execute: Execute, session: Session, run: Run) -> Result:
    """What there is of a turn that has ended."""
    said = execute(messages.OF_STATE, {"state": run.output_state_id}) if session.auto.get("enabled") else []
    below = execute(_BELOW, {"run": run.id}) if run.calls else []
    return Result([messages.record(row) for row in said], [(config, usage) for config, usage in below])


def find_in(c: Connection, thread_id: str) -> Session | None:
    """The session of a thread, whoever's it is, if it has one."""
    row = c.execute(sa.select(*_COLUMNS).where(sessions.c.thread_id == thread_id)).one_or_none()
    return _record(row) if row else None


def behind(c: Connection, limit: int = 100) -> list[str]:
    """Runs that have ended some time ago, or wait, while their session says that they run.

    One whose next turn is held has a task that waits, unless that was given up.
    """
    return list(c.execute(_BEHIND, {"limit": limit}).scalars())


def of_thread(c: Connection, thread_id: str) -> Session | None:
    """The session of a thread, deleted or not, locked."""
    query = sa.select(*_COLUMNS).where(sessions.c.thread_id == thread_id).with_for_update()
    row = c.execute(query).one_or_none()
    return _record(row) if row else None


def update(c: Connection, session: Session, **values: Any) -> Session:
    """Change what is named. ``session`` is as it was locked; raises Conflict if it is not so any more."""
    return _store(c, replace(session, **values, revision=session.revision + 1))


def _store(c: Connection, after: Session, *, begins: bool = False) -> Session:
    """Store a session with its next revision. ``begins``: it is from now on that it has been running."""
    new = {f"new_{name}": getattr(after, name) for name in _CHANGING}
    where = {"session": after.id, "before": after.revision - 1, "begins": begins}
    row = c.execute(_UPDATE, {**new, **where}).one_or_none()
    if row is None:
        raise Conflict("The session has changed meanwhile; try again.")
    return replace(after, running_since=row.running_since, updated_at=row.updated_at)


@dataclass(frozen=True, slots=True)
class Step:
    """A transition that is to be made."""

    status: Status
    by: By
    user_id: str | None = None
    reason: Mapping[str, Json] | None = None
    """Why, ``{code, message}``; that of a stop stays with the session."""


@dataclass(frozen=True, slots=True)
class Move:
    """Transitions of a session, one after the other, and what changes with them.

    An :class:`OptimisticChange`: it is made unless the session has changed since it was read.
    """

    after: Session
    entries: Sequence[Mapping[str, Json]]
    """Its transitions, for its history."""

    guard: ClassVar[bytes] = _GUARD
    changes: ClassVar[bytes] = _CHANGES

    def make(self, c: Connection) -> Session:
        """Raises Conflict if the session has changed."""
        moved = _store(c, self.after, begins=self.after.status is Status.RUNNING)
        c.execute(_NOTE, self.entries)
        return moved

    def made(self, moment: datetime) -> Session:
        """The session since that moment."""
        since = moment if self.after.status is Status.RUNNING else None
        return replace(self.after, running_since=since, updated_at=moment)

    @property
    def values(self) -> Mapping[str, Any]:
        """The parameters of its statement."""
        return {
            "session_id": self.after.id,
            "before": self.after.revision - 1,
            "after": dumps(self.after),
            "entries": dumps(self.entries),
        }


def move(c: Connection, session: Session, *steps: Step, **values: Any) -> Session:
    """Make transitions at once. Raises Conflict where one is not legal; then none is made."""
    return plan(session, *steps, **values).make(c)


def plan(session: Session, *steps: Step, **values: Any) -> Move:
    """Transitions that are to be made. Raises Conflict where one is not legal."""
    entries: list[Mapping[str, Json]] = []
    before = session.status
    for number, step in enumerate(steps, session.transition + 1):
        model.check(before, step.status)
        begins = step.status is Status.RUNNING and before is not Status.WAITING
        entries.append(
            {
                "session_id": session.id,
                "number": number,
                "from_status": before,
                "to_status": step.status,
                "by": step.by,
                "user_id": step.user_id,
                "run_id": values.get("run_id", session.run_id) if begins else session.run_id,
                "code": step.reason and step.reason["code"],
                "message": step.reason and step.reason["message"],
            }
        )
        before = step.status
    reason = steps[-1].reason if before in (Status.STOP, Status.CLOSED) else None
    transition = session.transition + len(steps)
    changed = {"status": before, "transition": transition, "stop_reason": reason, **values}
    return Move(replace(session, **changed, revision=session.revision + 1), entries)


def count_messages(c: Connection, thread_id: str) -> int:
    """How many messages a thread has, whoever has written them, with those that wait to be read."""
    query = (
        sa.select(sa.func.count())
        .select_from(tree.join(states, states.c.id == tree.c.state_id))
        .where(states.c.thread_id == thread_id, ~tree.c.void)
    )
    return int(c.execute(query).scalar_one()) + queued_messages.number_of_thread(c, thread_id)


def check_room(c: Connection, session: Session, more: int = 0) -> None:
    """That a session has no more messages than it may, with so many more. Raises SessionFull."""
    most = session.limits.get(model.MAX_MESSAGES)
    if most and count_messages(c, session.thread_id) + more > most:
        raise SessionFull(most)


def check_turn(c: Connection, run: Run) -> None:
    """That the session whose turn a run is has no more messages than it may. Raises SessionFull."""
    session = find(c, run.session_id) if run.session_id else None
    if session is not None:
        check_room(c, session)


def newest_ended(c: Connection, thread_id: str) -> str:
    """The newest state of a thread whose run, if it has one, has ended."""
    is_open = sa.exists().where(runs.c.id == states.c.run_id, runs.c.finished_at.is_(None))
    query = (
        sa.select(states.c.id)
        .where(states.c.thread_id == thread_id, ~is_open)
        .order_by(states.c.created_at.desc(), states.c.id.desc())
        .limit(1)
    )
    return str(c.execute(query).scalar_one())


def have_ended(c: Connection, session: Session) -> None:
    """Have the turn cancelled, also if this process dies behind the commit."""
    key = f"{session.run_id}:{session.revision}:end"
    outbox.put(c, turns.CHANGED, key, {"run_id": session.run_id})


def check_tip(c: Connection, thread_id: str, state_id: str) -> str:
    """That a session of this thread can go on from a state. Raises NotFound, and Conflict while its run
    has not ended."""
    query = (
        sa.select(states.c.id, runs.c.id.label("run_id"), runs.c.finished_at)
        .outerjoin(runs, runs.c.id == states.c.run_id)
        .where(states.c.id == state_id, states.c.thread_id == thread_id)
    )
    row = c.execute(query).one_or_none()
    if row is None:
        raise NotFound("The thread has no such state.")
    if row.run_id is not None and row.finished_at is None:
        raise Conflict("The run that fills this state has not ended; wait for it, or cancel it.")
    return state_id


def history(
    c: Connection, session_id: str, *, limit: int = 20, cursor: str | None = None
) -> Page[Transition]:
    """The transitions, the latest first."""
    query = sa.select(*_HISTORY).where(session_transitions.c.session_id == session_id)
    if cursor:
        (number,) = decode_cursor(cursor, number_of)
        query = query.where(session_transitions.c.number < number)
    query = query.order_by(session_transitions.c.number.desc()).limit(limit + 1)
    return Page.of([*c.execute(query)], limit, _entry, lambda row: (row.number,))


def _record(row: Sequence[Any]) -> Session:
    values = dict(zip(Session.__dataclass_fields__, row, strict=True))
    values["status"] = Status(values["status"])
    values["wish"] = values["wish"] and Wish(values["wish"])
    return Session(**values)


def _entry(row: Sequence[Any]) -> Transition:
    values = dict(zip(Transition.__dataclass_fields__, row, strict=True))
    for name in ("from_status", "to_status"):
        values[name] = Status(values[name])
    return Transition(**{**values, "by": By(values["by"])})


# What every turn and every round of a reaper needs is made once.
_BEHIND = (
    sa.select(runs.c.id)
    .join(sessions, sessions.c.run_id == runs.c.id)
    .where(
        IS_OPEN,
        sa.or_(sessions.c.held.is_(None), ~turns.has_task(runs.c.id)),
        sa.or_(
            runs.c.finished_at < now(-_LATE),
            sa.and_(runs.c.status == RunStatus.WAITING, sessions.c.status == Status.RUNNING),
        ),
    )
    .limit(sa.bindparam("limit", type_=sa.Integer))
)
_FIND = sa.select(*_COLUMNS).where(sessions.c.id == sa.bindparam("session", type_=sessions.c.id.type))
_RUNS = sa.bindparam("new_status", type_=sessions.c.status.type) == Status.RUNNING
_BEGINS = sa.bindparam("begins", type_=sa.Boolean)
_UPDATE = (
    sessions.update()
    .where(
        sessions.c.id == sa.bindparam("session", type_=sessions.c.id.type),
        sessions.c.revision == sa.bindparam("before", type_=sa.Integer),
    )
    .values(
        {name: sa.bindparam(f"new_{name}", type_=sessions.c[name].type) for name in _CHANGING}
        | {"updated_at": now(), "running_since": sa.case((_BEGINS, now()), (_RUNS, sessions.c.running_since))}
    )
    .returning(sessions.c.running_since, sessions.c.updated_at)
)
_LOCK = _FIND.with_for_update()
_NOTE = session_transitions.insert().values(created_at=now())
_RUN = sa.bindparam("run", type_=runs.c.id.type)
_TURN = (
    sa.select(*all_runs.COLUMNS, *_COLUMNS, *_USER, *all_threads.COLUMNS)
    .join_from(runs, sessions, sessions.c.id == runs.c.session_id)
    .join(users, users.c.id == sessions.c.user_id)
    .join(threads, threads.c.id == runs.c.thread_id)
    .where(runs.c.id == _RUN)
)
_CALLED = runs.alias("called")
_WALK = sa.select(runs.c.id).where(runs.c.parent_run_id == _RUN, runs.c.call_id.is_not(None))
_WALK_BELOW = _WALK.cte("below", recursive=True)
_WALK_BELOW = _WALK_BELOW.union_all(
    sa.select(_CALLED.c.id)
    .join(_WALK_BELOW, _CALLED.c.parent_run_id == _WALK_BELOW.c.id)
    .where(_CALLED.c.call_id.is_not(None))
)
_BELOW = sa.select(runs.c.config, runs.c.usage).join(_WALK_BELOW, runs.c.id == _WALK_BELOW.c.id)
