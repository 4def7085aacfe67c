"""The tokens of sessions: whom they stand for, what they reach, and how they end.

A token says which thread it is for; what else is of that thread is looked up here: its states and
runs, the hidden threads of their sub-runs, and the files that messages of these name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import Conflict
from runtime.model import User
from runtime.sessions import store
from runtime.sessions.model import Status
from runtime.sessions.tables import sessions
from runtime.store.tables import Id, Time, file_uses, files, now, runs, states, threads, users
from runtime.tokens import ThreadGrant


def grant(c: Connection, user: User, thread_id: str, *, writes: bool, seconds: int) -> ThreadGrant:
    """What a new token of a thread's session permits, for so many seconds by the database's clock.

    Raises NotFound, and Conflict where the session is closed.
    """
    session = store.get(c, user.workspace_id, thread_id)
    if session.status is Status.CLOSED:
        raise Conflict("The session is closed.")
    query = sa.select(sessions.c.token_generation, now(seconds)).where(sessions.c.id == session.id)
    generation, until = c.execute(query).one()
    return ThreadGrant(session.id, thread_id, user.id, writes, generation, ceil(until.timestamp()))


def revoke(c: Connection, workspace_id: str, thread_id: str) -> None:
    """End all tokens that a thread's session has given out. Raises NotFound."""
    session = store.get(c, workspace_id, thread_id)
    later = sessions.update().where(sessions.c.id == session.id)
    c.execute(later.values(token_generation=sessions.c.token_generation + 1))


def subject(c: Connection, given: ThreadGrant) -> User | None:
    """Whom a token stands for.

    None where it is over or revoked, its session is closed, or its user or its thread is gone.
    """
    row = c.execute(
        _SUBJECT,
        {
            "user": given.user_id,
            "session": given.session_id,
            "thread": given.thread_id,
            "generation": given.generation,
            "until": datetime.fromtimestamp(given.expires_at, UTC),
        },
    ).one_or_none()
    return User(*row) if row else None


def reaches(c: Connection, given: ThreadGrant, kind: str, id: str) -> bool:
    """Whether a thing is of that thread. ``kind``: ``thread``, ``state``, ``run`` or ``file``."""
    return c.execute(_REACHES[kind], {"thread": given.thread_id, "thing": id}).first() is not None


def unnameable(c: Connection, user: User, given: ThreadGrant, file_ids: Sequence[str]) -> str | None:
    """The first of these files that new messages of the thread may not name; None: they may."""
    return unnameable_in(c, user, threads_of(given), file_ids)


def threads_of(given: ThreadGrant) -> sa.Select[tuple[str]]:
    """The thread that a token reaches; those of its sub-runs are further ones."""
    return sa.select(sa.literal(given.thread_id, Id))


def unnameable_in(
    c: Connection, user: User, of: sa.Select[tuple[str]], file_ids: Sequence[str]
) -> str | None:
    """The first of these files that new messages in these threads may not name; None: they may.

    They may name what is named there, and what the user has uploaded and no message names yet.
    """
    fresh = sa.select(files.c.id).where(
        files.c.user_id == user.id,
        files.c.run_id.is_(None),
        ~sa.exists().where(file_uses.c.file_id == files.c.id),
    )
    named = (
        sa.select(file_uses.c.file_id)
        .join(threads, threads.c.id == file_uses.c.thread_id)
        .where(threads.c.id.in_(of) | threads.c.called_from.in_(of))
    )
    may = sa.union(
        fresh.where(files.c.id.in_(file_ids)),
        named.where(file_uses.c.file_id.in_(file_ids)),
    )
    found = set(c.execute(may).scalars())
    return next((file_id for file_id in file_ids if file_id not in found), None)


def _reaches(of: sa.Select[Any] | sa.BindParameter[Any]) -> sa.Select[Any]:
    thread = sa.bindparam("thread", type_=Id)
    is_it = threads.c.id.in_(of) if isinstance(of, sa.Select) else threads.c.id == of
    query = sa.select(threads.c.id).where(
        is_it, threads.c.deleted_at.is_(None), (threads.c.id == thread) | (threads.c.called_from == thread)
    )
    return query.limit(1)


_THING = sa.bindparam("thing", type_=Id)
_REACHES: Mapping[str, sa.Select[Any]] = {
    "thread": _reaches(_THING),
    "state": _reaches(sa.select(states.c.thread_id).where(states.c.id == _THING)),
    "run": _reaches(sa.select(runs.c.thread_id).where(runs.c.id == _THING)),
    "file": _reaches(sa.select(file_uses.c.thread_id).where(file_uses.c.file_id == _THING)),
}
_SUBJECT = (
    sa.select(*(users.c[name] for name in User.__dataclass_fields__))
    .join(sessions, sessions.c.workspace_id == users.c.workspace_id)
    .join(threads, threads.c.id == sessions.c.thread_id)
    .where(
        users.c.id == sa.bindparam("user", type_=Id),
        sessions.c.id == sa.bindparam("session", type_=Id),
        sessions.c.thread_id == sa.bindparam("thread", type_=Id),
        sessions.c.token_generation == sa.bindparam("generation", type_=sa.Integer),
        sessions.c.status != Status.CLOSED,
        threads.c.deleted_at.is_(None),
        now() < sa.bindparam("until", type_=Time()),
    )
)
