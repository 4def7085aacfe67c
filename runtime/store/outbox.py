"""The outbox: what is to happen after a transaction, in a row that the transaction has written.

A task is there if and only if what it follows from is committed, so it cannot be missed, whichever
process dies. Any process may take it (``FOR UPDATE SKIP LOCKED``). Taking it puts it off for a
while: one whose process dies is due again then. So a task is carried out at least once, and what
carries it out must tolerate to be called again.

``kind`` says who carries it out, and ``key`` what it is about. A key names something that happens
once ("this run has ended"): a second task with the same kind and key is none.

A process that carries out tasks has its own ones told once they are committed, and a head start:
:meth:`Database.carry_out`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.model import Json, encode_time
from runtime.store.dialects import insert_or_ignore
from runtime.store.tables import moment, now, outbox

PUT_OFF = 60.0
"""Seconds that whoever takes a task has for it, before another process may take it, too."""


HEAD_START = 5.0
"""Seconds that a process has for the tasks that it has written itself, if it carries out any: more than
it needs, since a task that begins a run could begin two if another process took it meanwhile."""
OWN = "own tasks"
"""Where a transaction of such a process notes them, in the ``info`` of its connection."""

Own = tuple[str, str, Json]
"""Kind, key and payload."""


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do after a commit."""

    kind: str
    key: str
    payload: Json
    tries: int
    """How often it was taken, this time included."""
    created_at: datetime
    due_at: datetime
    error: str | None = None
    """Why the last try has failed, or what it waits for."""
    dead_at: datetime | None = None
    """When it was given up; nobody takes it any more."""

    def encode(self) -> dict[str, Json]:
        """The task as the command line shows it."""
        return {
            "kind": self.kind,
            "key": self.key,
            "payload": self.payload,
            "tries": self.tries,
            "created_at": encode_time(self.created_at),
            "due_at": encode_time(self.due_at),
            "error": self.error,
            "dead_at": encode_time(self.dead_at),
        }


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many tasks of one kind there are."""

    kind: str
    due: int
    """Those that could be carried out now."""
    dead: int


def put(c: Connection, kind: str, key: str, payload: Json = None, *, delay: float = 0.0) -> None:
    """Have a task carried out once this transaction is committed, ``delay`` seconds later."""
    values = {"kind": kind, "key": key, "payload": payload}
    own: list[Own] | None = c.info.get(OWN)
    if own is not None and not delay:
        own.append((kind, key, payload))
        delay = HEAD_START
    c.execute(_PUT[c.dialect.name], {**values, "delay": delay})


def is_due(c: Connection, kinds: Collection[str]) -> bool:
    """Whether there is something to take; costs less than to take nothing."""
    return c.execute(_IS_DUE, {"kinds": list(kinds)}).scalar_one()


def take(c: Connection, kinds: Collection[str], limit: int = 20) -> list[Task]:
    """Take the tasks of these kinds that are due, longest first."""
    due = (
        sa.select(outbox.c.kind, outbox.c.key)
        .where(*_due(kinds))
        .order_by(outbox.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    taken = c.execute(
        outbox.update()
        .where(sa.tuple_(outbox.c.kind, outbox.c.key).in_(sa.select(due.c.kind, due.c.key)))
        .values(due_at=now(PUT_OFF), tries=outbox.c.tries + 1)
        .returning(*_COLUMNS)
    )
    return sorted((Task(*row) for row in taken), key=lambda task: task.created_at)


def done(c: Connection, task: Task) -> None:
    """It is carried out."""
    c.execute(outbox.delete().where(*_is(task)))


def forget(c: Connection, done: Sequence[tuple[str, str]]) -> None:
    """These are carried out, by the process that has written them and has not taken them."""
    c.execute(_FORGET, {"done": list(done)})


def put_back(c: Connection, task: Task, delay: float, why: str) -> None:
    """It could not be tried now, and ``why``; it is due again in ``delay`` seconds, and this was no try.

    One that was woken since it was taken stays due: what it waits for has happened meanwhile.
    """
    due_at = sa.case((outbox.c.due_at <= now(), outbox.c.due_at), else_=now(delay))
    values = {"due_at": due_at, "tries": outbox.c.tries - 1, "error": why}
    c.execute(outbox.update().where(*_is(task)).values(**values))


def name_of(kind: str, key: str) -> str:
    """Both in one text, for :func:`wake`."""
    return f"{kind}:{key}"


def wake(c: Connection, name: str) -> None:
    """What this task may wait for has happened: it is due once this transaction is committed."""
    kind, _, key = name.partition(":")
    this = (outbox.c.kind == kind, outbox.c.key == key, outbox.c.dead_at.is_(None), outbox.c.due_at > now())
    woken = c.execute(outbox.update().where(*this).values(due_at=now()).returning(outbox.c.payload)).first()
    own: list[Own] | None = c.info.get(OWN)
    if woken is not None and own is not None:
        own.append((kind, key, woken.payload))


def failed(c: Connection, task: Task, error: str, delay: float | None) -> None:
    """A try has failed. The next one follows in ``delay`` seconds; None: it is given up."""
    after = {"dead_at": now()} if delay is None else {"due_at": now(delay)}
    c.execute(outbox.update().where(*_is(task)).values(error=error, **after))


def dead(c: Connection, limit: int = 100) -> list[Task]:
    """Tasks that were given up, the latest first."""
    query = sa.select(*_COLUMNS).where(outbox.c.dead_at.is_not(None)).order_by(outbox.c.dead_at.desc())
    return [Task(*row) for row in c.execute(query.limit(limit))]


def replay(c: Connection, key: str | None = None) -> int:
    """Have tasks that were given up tried again, all or those with one key. Returns how many."""
    chosen = [outbox.c.dead_at.is_not(None), *([outbox.c.key == key] if key else [])]
    return c.execute(outbox.update().where(*chosen).values(dead_at=None, tries=0, due_at=now())).rowcount


def counts(c: Connection) -> list[Waiting]:
    """How many there are, by kind."""
    is_due = sa.case((sa.and_(outbox.c.dead_at.is_(None), outbox.c.due_at <= now()), 1))
    query = (
        sa.select(outbox.c.kind, sa.func.count(is_due), sa.func.count(outbox.c.dead_at))
        .group_by(outbox.c.kind)
        .order_by(outbox.c.kind)
    )
    return [Waiting(*row) for row in c.execute(query)]


def _due(kinds: Collection[str]) -> tuple[Any, ...]:
    return outbox.c.dead_at.is_(None), outbox.c.due_at <= moment(), outbox.c.kind.in_(list(kinds))


def _is(task: Task) -> tuple[Any, ...]:
    """That the row is this task, and nobody has taken it since."""
    return outbox.c.kind == task.kind, outbox.c.key == task.key, outbox.c.tries == task.tries


_IS_DUE = sa.select(
    sa.exists().where(
        outbox.c.dead_at.is_(None),
        outbox.c.due_at <= moment(),
        outbox.c.kind.in_(sa.bindparam("kinds", expanding=True)),
    )
)
_FORGET = outbox.delete().where(
    sa.tuple_(outbox.c.kind, outbox.c.key).in_(sa.bindparam("done", expanding=True))
)
_COLUMNS = [outbox.c[name] for name in Task.__dataclass_fields__]
_PUT = insert_or_ignore(
    outbox,
    due_at=now(sa.bindparam("delay", type_=sa.Float)),
    created_at=now(),
    tries=0,
)
