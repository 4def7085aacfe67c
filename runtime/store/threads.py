"""Threads: their list, their settings, their end.

A deleted thread stays in the trash for some days, in which its owner may restore it, or
delete it for good; then the reaper purges it with all that belongs to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final, TypedDict, Unpack

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import NotFound
from runtime.model import Json, Thread, ThreadStatus, new_id
from runtime.store import figures, follow_ups, outbox
from runtime.store.folding import stored
from runtime.store.page import Page, after, start_of, within_bytes
from runtime.store.tables import now, runs, states, threads

DELETED: Final = "thread_deleted"
"""The kind of the task that a deleted thread leaves."""
_DAY = 86400
_PURGED_AT_ONCE = 20
_IS_LISTED = (threads.c.titles.is_(None), threads.c.called_from.is_(None))
"""That it is its user's own, and made neither for another one nor for a sub-run."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""When a thread was deleted that is deleted for good: its days in the trash are over at once."""


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
    called_from: str | None = None,
) -> Thread:
    """A new thread and its empty root state.

    ``title_wanted``: a worker is to name it. ``titles``: it is in no list, and made to name that thread, or
    to sum it up.
    ``called_from``: it is in no list, and a sub-run of a run of that thread works on it.
    """
    root_id = new_id()
    row = c.execute(
        _CREATE,
        {
            "id": new_id(),
            "workspace_id": workspace_id,
            "user_id": user_id,
            "title": title,
            "folded": stored(title),
            "worker_id": worker_id,
            "config": dict(config or {}),
            "metadata": dict(metadata or {}),
            "status": ThreadStatus.ACTIVE,
            "root_state_id": root_id,
            "latest_state_id": root_id,
            "title_wanted": title_wanted,
            "titles": titles,
            "called_from": called_from,
        },
    ).one()
    c.execute(_CREATE_ROOT, {"id": root_id, "thread_id": row.id, "created_at": row.created_at})
    return record(row)


def get(c: Connection, workspace_id: str, thread_id: str, *, deleted: bool = False) -> Thread:
    """The thread; a deleted one too if ``deleted``. Raises NotFound, for a helper thread as well."""
    query = _GET if deleted else GET_LIVE
    return record_or_raise(c.execute(query, {"workspace": workspace_id, "thread": thread_id}).one_or_none())


def about(c: Connection, thread_id: str) -> dict[str, Json]:
    """What a worker is told of its thread, whoever's it is: its id, title and metadata."""
    query = sa.select(threads.c.id, threads.c.title, threads.c.metadata).where(threads.c.id == thread_id)
    found = c.execute(query).one()
    return {"id": found.id, "title": found.title, "metadata": found.metadata}


def existing(c: Connection, workspace_id: str, thread_ids: Sequence[str]) -> set[str]:
    """Which of these threads the workspace has, and has not deleted."""
    return set(c.execute(_EXISTING, {"workspace": workspace_id, "threads": thread_ids}).scalars())


def listing(
    c: Connection,
    workspace_id: str,
    *,
    status: ThreadStatus | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> Page[Thread]:
    """The threads with that status (active ones if None), last updated first."""
    found = c.execute(_all(c.dialect.name, bool(cursor)), list_values(workspace_id, status, limit, cursor))
    return Page.of(found.all(), limit, record, lambda row: (row.updated_at, row.id))


def list_values(
    workspace_id: str, status: ThreadStatus | None, limit: int, cursor: str | None
) -> dict[str, Any]:
    """The parameters of :func:`list_query`. Raises Invalid for a cursor that is none."""
    values = {
        "workspace": workspace_id,
        "wanted_status": status or ThreadStatus.ACTIVE,
        "count": limit + 1,
    }
    return values | start_of(cursor) if cursor else values


def update(c: Connection, workspace_id: str, thread_id: str, **changes: Unpack[Changes]) -> Thread:
    """Change what is named and leave the rest. Raises NotFound."""
    changed = _LIVE_UPDATE.values(**changes, updated_at=now())
    if "title" in changes:
        changed = changed.values(title_wanted=False, folded=stored(changes["title"]))
        c.execute(_FORGET_TITLE, {"thread": thread_id})
    return _returned(c, changed, workspace_id, thread_id)


def delete(c: Connection, workspace_id: str, thread_id: str) -> Thread:
    """Put the thread out of sight; it can be restored for a while. Raises NotFound.

    Those of sub-runs follow with :func:`delete_called`, once no run can make one any more.
    """
    deleted = _returned(c, _DELETE, workspace_id, thread_id)
    outbox.put(c, DELETED, thread_id, {"thread_id": thread_id})
    return deleted


def delete_called(c: Connection, thread_id: str) -> None:
    """Delete the threads of the sub-runs of a deleted one; they are restored and erased with it."""
    c.execute(_DELETE_CALLED, {"thread": thread_id})


def delete_called_for_good(c: Connection, *thread_ids: str) -> None:
    """Delete the threads, in no list, that were made for these; :func:`purge` erases them."""
    c.execute(_DELETE_CALLED_FOR_GOOD, {"deleted": list(thread_ids)})


def trash(
    c: Connection, workspace_id: str, days: float, *, limit: int = 20, cursor: str | None = None
) -> Page[Thread]:
    """The deleted threads that can be restored for ``days``, last deleted first."""
    values = {"workspace": workspace_id, "kept": -days * _DAY, "count": limit + 1}
    if cursor:
        values |= start_of(cursor)
    rows = c.execute(_trash_query(c.dialect.name, bool(cursor)), values).all()
    return Page.of(rows, limit, record, lambda row: (row.deleted_at, row.id))


def restore(c: Connection, workspace_id: str, thread_id: str, days: float) -> Thread:
    """Bring back a thread that was deleted less than ``days`` ago. Raises NotFound."""
    restored = _returned(c, _RESTORE, workspace_id, thread_id, kept=-days * _DAY)
    c.execute(_RESTORE_CALLED, {"thread": thread_id})
    return restored


def delete_for_good(c: Connection, workspace_id: str, thread_id: str) -> Thread:
    """Take a deleted thread out of the trash; :func:`purge` erases it. Raises NotFound."""
    deleted = _returned(c, _DELETE_FOR_GOOD.where(threads.c.id == _THREAD), workspace_id, thread_id)
    c.execute(_DELETE_CALLED_FOR_GOOD, {"deleted": [thread_id]})
    return deleted


def empty_trash(c: Connection, workspace_id: str) -> int:
    """The same for all deleted threads; how many they were."""
    deleted = list(c.execute(_DELETE_FOR_GOOD.returning(threads.c.id), {"workspace": workspace_id}).scalars())
    c.execute(_DELETE_CALLED_FOR_GOOD, {"deleted": deleted})
    return len(deleted)


def purge(c: Connection, days: float) -> int:
    """Erase some threads that were deleted ``days`` ago or for good; how many they were."""
    doomed = list(c.execute(_DOOMED, {"kept": -days * _DAY}).scalars())
    if doomed:
        figures.erase(c, doomed)
        c.execute(threads.delete().where(threads.c.id.in_(doomed)))
    return len(doomed)


@cache
def _trash_query(dialect: str, continued: bool) -> sa.Select[Any]:
    wanted = (
        sa.select(*COLUMNS)
        .where(
            threads.c.workspace_id == _WORKSPACE,
            threads.c.deleted_at > now(_KEPT),
            *_IS_LISTED,
            *([after(threads.c.deleted_at, threads.c.id)] if continued else ()),
        )
        .order_by(threads.c.deleted_at.desc(), threads.c.id.desc())
        .limit(sa.bindparam("count", type_=sa.Integer))
    )
    return within_bytes(wanted, ("config", "metadata"), ("deleted_at", "id"), dialect)


def list_query(
    dialect: str,
    continued: bool,
    *conditions: sa.ColumnElement[bool],
    columns: Sequence[sa.ColumnElement[Any]] = (),
) -> sa.Select[Any]:
    """The threads of a workspace under these conditions, with more ``columns`` than those of the record.

    ``continued``: only those after a position.
    """
    wanted = (
        sa.select(*COLUMNS, *columns)
        .where(
            threads.c.workspace_id == _WORKSPACE,
            threads.c.status == sa.bindparam("wanted_status", type_=threads.c.status.type),
            threads.c.deleted_at.is_(None),
            *_IS_LISTED,
            *([after(threads.c.updated_at, threads.c.id)] if continued else ()),
            *conditions,
        )
        .order_by(threads.c.updated_at.desc(), threads.c.id.desc())
        .limit(sa.bindparam("count", type_=sa.Integer))
    )
    return within_bytes(wanted, ("config", "metadata"), ("updated_at", "id"), dialect)


_all = cache(list_query)
"""The list as it is. Made once: to put it together takes longer than to execute it."""


def _of(statement: Any) -> Any:
    """``statement``, confined to one thread of one workspace."""
    return statement.where(
        threads.c.id == _THREAD,
        threads.c.workspace_id == _WORKSPACE,
    )


def _returned(c: Connection, changed: Any, workspace_id: str, thread_id: str, **more: Any) -> Thread:
    bound = {"workspace": workspace_id, "thread": thread_id, **more}
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


_THREAD = sa.bindparam("thread", type_=threads.c.id.type)
_WORKSPACE = sa.bindparam("workspace", type_=threads.c.id.type)
_KEPT = sa.bindparam("kept", type_=sa.Float)
"""Seconds that a thread stays in the trash, as a negative number."""

_deleted = threads.alias("deleted")
COLUMNS = [threads.c[name] for name in Thread.__dataclass_fields__]
_STATUS = list(Thread.__dataclass_fields__).index("status")


_CREATE = threads.insert().values(created_at=now(), updated_at=now()).returning(*COLUMNS)
_CREATE_ROOT = states.insert().values(depth=0, ordinal=0)
_GET = _of(sa.select(*COLUMNS))
GET_LIVE = _GET.where(threads.c.deleted_at.is_(None), *_IS_LISTED)
_EXISTING = sa.select(threads.c.id).where(
    threads.c.id.in_(sa.bindparam("threads", expanding=True, type_=threads.c.id.type)),
    threads.c.workspace_id == sa.bindparam("workspace", type_=threads.c.id.type),
    threads.c.deleted_at.is_(None),
    *_IS_LISTED,
)
_FORGET_TITLE = (
    threads.update()
    .where(
        threads.c.titles == _THREAD,
        threads.c.deleted_at.is_(None),
        ~sa.exists().where(
            runs.c.thread_id == threads.c.id,
            runs.c.awaited_by.startswith(outbox.name_of(follow_ups.SUM_UP, "")),
        ),
    )
    .values(deleted_at=now())
)
_LIVE_UPDATE = _of(threads.update()).where(threads.c.deleted_at.is_(None), *_IS_LISTED)
_DELETE = _LIVE_UPDATE.values(deleted_at=now())
_RESTORE = (
    _of(threads.update())
    .where(threads.c.deleted_at.is_(None) | (threads.c.deleted_at > now(_KEPT)), *_IS_LISTED)
    .values(deleted_at=None)
)
_RESTORE_CALLED = threads.update().where(threads.c.called_from == _THREAD).values(deleted_at=None)
_DELETE_CALLED = (
    threads.update()
    .where(threads.c.called_from == _THREAD, threads.c.deleted_at.is_(None))
    .values(deleted_at=sa.select(_deleted.c.deleted_at).where(_deleted.c.id == _THREAD).scalar_subquery())
)
_DELETE_CALLED_FOR_GOOD = (
    threads.update()
    .where(threads.c.called_from.in_(sa.bindparam("deleted", expanding=True, type_=threads.c.id.type)))
    .values(deleted_at=_LONG_AGO)
)
_DELETE_FOR_GOOD = (
    threads.update()
    .where(
        threads.c.workspace_id == _WORKSPACE,
        threads.c.deleted_at > _LONG_AGO,
        *_IS_LISTED,
    )
    .values(deleted_at=_LONG_AGO)
)
_DOOMED = (
    sa.select(threads.c.id).where(threads.c.deleted_at <= now(_KEPT)).limit(_PURGED_AT_ONCE).with_for_update()
)
