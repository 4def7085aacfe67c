"""Threads: their list, their settings, their end.

A deleted thread stays for :data:`KEPT_DAYS`, in which its owner may restore it;
then the reaper purges it with all that belongs to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypedDict, Unpack

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import NotFound
from runtime.model import Json, Thread, ThreadStatus, new_id
from runtime.store.page import Page, after, start_of, within_bytes
from runtime.store.tables import messages, now, states, threads

KEPT_DAYS = 30
_KEPT_SECONDS = KEPT_DAYS * 86400
_PURGED_AT_ONCE = 20


class Changes(TypedDict, total=False):
    """What the owner of a thread may change."""

    title: str | None
    worker_id: str | None
    config: Mapping[str, Json]
    metadata: Mapping[str, Json]
    status: ThreadStatus


def create(
    c: Connection,
    *,
    workspace_id: str,
    user_id: str,
    title: str | None = None,
    worker_id: str | None = None,
    config: Mapping[str, Json] | None = None,
    metadata: Mapping[str, Json] | None = None,
    title_wanted: bool = False,
    titles: str | None = None,
) -> Thread:
    """A new thread and its empty root state.

    ``title_wanted``: a worker is to name it. ``titles``: it is in no list, and made to name that thread.
    """
    root_id = new_id()
    row = c.execute(
        _CREATE,
        {
            "id": new_id(),
            "workspace_id": workspace_id,
            "user_id": user_id,
            "title": title,
            "worker_id": worker_id,
            "config": dict(config or {}),
            "metadata": dict(metadata or {}),
            "status": ThreadStatus.ACTIVE,
            "root_state_id": root_id,
            "latest_state_id": root_id,
            "title_wanted": title_wanted,
            "titles": titles,
        },
    ).one()
    c.execute(_CREATE_ROOT, {"id": root_id, "thread_id": row.id, "created_at": row.created_at})
    return record(row)


def get(c: Connection, workspace_id: str, thread_id: str, *, deleted: bool = False) -> Thread:
    """The thread; a deleted one too if ``deleted``. Raises NotFound, for what only makes a title as well."""
    query = _GET if deleted else GET_LIVE
    return record_or_raise(c.execute(query, {"workspace": workspace_id, "thread": thread_id}).one_or_none())


def existing(c: Connection, workspace_id: str, thread_ids: Sequence[str]) -> set[str]:
    """Which of these threads the workspace has, and has not deleted."""
    return set(c.execute(_EXISTING, {"workspace": workspace_id, "threads": thread_ids}).scalars())


def listing(
    c: Connection,
    workspace_id: str,
    *,
    query: str | None = None,
    status: ThreadStatus | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> Page[Thread]:
    """The threads with that status (active ones if None), last updated first.

    ``query`` keeps those whose title or messages contain it, in upper or lower case.
    """
    values: dict[str, Any] = {
        "workspace": workspace_id,
        "wanted_status": status or ThreadStatus.ACTIVE,
        "count": limit + 1,
    }
    if cursor:
        values |= start_of(cursor)
    if query:
        found = _found(c.dialect.name, bool(cursor), _matches(query, c.dialect.name))
    else:
        found = _all(c.dialect.name, bool(cursor))
    return Page.of(c.execute(found, values).all(), limit, record, lambda row: (row.updated_at, row.id))


def update(c: Connection, workspace_id: str, thread_id: str, **changes: Unpack[Changes]) -> Thread:
    """Change what is named and leave the rest. Raises NotFound."""
    changed = _of(threads.update()).where(threads.c.deleted_at.is_(None)).values(**changes, updated_at=now())
    if "title" in changes:
        changed = changed.values(title_wanted=False)
        c.execute(_FORGET_TITLE, {"thread": thread_id})
    return _returned(c, changed, workspace_id, thread_id)


def delete(c: Connection, workspace_id: str, thread_id: str) -> Thread:
    """Put the thread out of sight; it can be restored for a while. Raises NotFound."""
    return _returned(c, _DELETE, workspace_id, thread_id)


def restore(c: Connection, workspace_id: str, thread_id: str) -> Thread:
    """Bring a deleted thread back. Raises NotFound where it is too late."""
    return _returned(c, _RESTORE, workspace_id, thread_id)


def purge(c: Connection) -> int:
    """Erase some threads that nobody can restore any more; how many they were."""
    return c.execute(_PURGE).rowcount


@cache
def _all(dialect: str, continued: bool) -> sa.Select[Any]:
    """The list without a search. Made once: to put it together takes longer than to execute it."""
    return _found(dialect, continued)


def _found(dialect: str, continued: bool, *conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """The threads of a workspace under these conditions; those after a position if ``continued``."""
    wanted = (
        sa.select(*COLUMNS)
        .where(
            threads.c.workspace_id == sa.bindparam("workspace", type_=threads.c.id.type),
            threads.c.status == sa.bindparam("wanted_status", type_=threads.c.status.type),
            threads.c.deleted_at.is_(None),
            threads.c.titles.is_(None),
            *([after(threads.c.updated_at, threads.c.id)] if continued else ()),
            *conditions,
        )
        .order_by(threads.c.updated_at.desc(), threads.c.id.desc())
        .limit(sa.bindparam("count", type_=sa.Integer))
    )
    return within_bytes(wanted, ("config", "metadata"), ("updated_at", "id"), dialect)


def _matches(query: str, dialect: str) -> sa.ColumnElement[bool]:
    """Whether the title or a message of the thread contains ``query``."""
    return threads.c.title.icontains(query, autoescape=True) | _contains(query, dialect)


def _contains(query: str, dialect: str) -> sa.ColumnElement[bool]:
    """Whether a message of the thread contains ``query``."""
    if dialect == "postgresql":
        # State by state: left alone, the planner reads all messages that there are.
        of_state = (messages.c.state_id == states.c.id, ~messages.c.void)
        in_state: Any = sa.select(messages.c.content).where(*of_state).offset(0).lateral("message")
        return (
            sa.exists()
            .select_from(states.join(in_state, sa.true()))
            .where(states.c.thread_id == threads.c.id, in_state.c.content.icontains(query, autoescape=True))
        )
    return sa.exists().where(
        states.c.thread_id == threads.c.id,
        messages.c.state_id == states.c.id,
        ~messages.c.void,
        messages.c.content.icontains(query, autoescape=True),
    )


def _of(statement: Any) -> Any:
    """``statement``, confined to one thread of one workspace."""
    return statement.where(
        threads.c.id == sa.bindparam("thread", type_=threads.c.id.type),
        threads.c.workspace_id == sa.bindparam("workspace", type_=threads.c.id.type),
    )


def _returned(c: Connection, changed: Any, workspace_id: str, thread_id: str) -> Thread:
    bound = {"workspace": workspace_id, "thread": thread_id}
    return record_or_raise(c.execute(changed.returning(*COLUMNS), bound).one_or_none())


def record_or_raise(row: Sequence[Any] | None) -> Thread:
    """The record of a row of the table; raises NotFound where there is none."""
    if row is None:
        raise NotFound
    return record(row)


def record(row: Sequence[Any]) -> Thread:
    """The record of a row that begins with :data:`COLUMNS`."""
    values = list(row[: len(COLUMNS)])
    values[_STATUS] = ThreadStatus(values[_STATUS])
    return Thread(*values)


COLUMNS = [threads.c[name] for name in Thread.__dataclass_fields__]
_STATUS = list(Thread.__dataclass_fields__).index("status")


_CREATE = threads.insert().values(created_at=now(), updated_at=now()).returning(*COLUMNS)
_CREATE_ROOT = states.insert().values(depth=0, ordinal=0)
_GET = _of(sa.select(*COLUMNS))
GET_LIVE = _GET.where(threads.c.deleted_at.is_(None), threads.c.titles.is_(None))
_EXISTING = sa.select(threads.c.id).where(
    threads.c.id.in_(sa.bindparam("threads", expanding=True, type_=threads.c.id.type)),
    threads.c.workspace_id == sa.bindparam("workspace", type_=threads.c.id.type),
    threads.c.deleted_at.is_(None),
    threads.c.titles.is_(None),
)
_FORGET_TITLE = (
    threads.update()
    .where(
        threads.c.titles == sa.bindparam("thread", type_=threads.c.id.type), threads.c.deleted_at.is_(None)
    )
    .values(deleted_at=now())
)
_DELETE = _of(threads.update()).where(threads.c.deleted_at.is_(None)).values(deleted_at=now())
_RESTORE = (
    _of(threads.update())
    .where(threads.c.deleted_at.is_(None) | (threads.c.deleted_at > now(-_KEPT_SECONDS)))
    .values(deleted_at=None)
)
_PURGE = threads.delete().where(
    threads.c.id.in_(
        sa.select(threads.c.id).where(threads.c.deleted_at <= now(-_KEPT_SECONDS)).limit(_PURGED_AT_ONCE)
    )
)
