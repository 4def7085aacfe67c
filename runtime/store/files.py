"""Files: which there are, whose they are, and which messages name them.

The content of a file is kept apart (:mod:`runtime.files`), once for each pair of a workspace and a
hash. Row and content come and go under one lock on that pair, and in this order:

1. :func:`begin` commits a row that nobody reaches yet.
2. :func:`finish` puts the content in its place and commits that the file is ready.
3. :func:`forget` and :func:`expire` mark a row as deleted; from then on nobody reaches it.
4. :func:`drop` deletes the content, unless another file has the same, and then the row.

A process that dies leaves a row at each point, never a content without one. What is left is
expired or dropped later, and each step may be done again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import Conflict, NotFound, QuotaExceeded
from runtime.model import File, Message, Role, Run
from runtime.store.dialects import insert_or_ignore, lock_transaction
from runtime.store.page import Page, after, start_of
from runtime.store.states import NewMessage
from runtime.store.tables import Id, file_uses, files, messages, now, states

MOST = 20
"""Files that one message may name."""
_NOT_THERE = "There is no such file."
_UPLOAD_SECONDS = 3600
"""After so long an upload is given up that is not finished: its process has died."""
_AT_ONCE = 100


def begin(c: Connection, file: File, quota: int) -> None:
    """A file is about to be stored. ``quota``: bytes that all files of its user may have; 0: any number.

    Raises QuotaExceeded.
    """
    if quota:
        lock_transaction(c, _key("quota", file.user_id))  # of two uploads, one sees the other
        used = int(c.execute(_USED, {"user": file.user_id}).scalar_one())  # PostgreSQL adds up to a numeric
        if used + file.size > quota:
            raise QuotaExceeded(used, file.size, quota)
    c.execute(files.insert().values({**_values(file), "created_at": now()}))


def finish(c: Connection, file: File, put: Callable[[], object]) -> File:
    """Have ``put`` store the content of a file that was begun, and make it reachable.

    One that a run has made is named by the thread of the run from now on. Raises Conflict where
    the upload has taken too long.
    """
    _lock_content(c, file)
    ready = files.update().where(files.c.id == file.id, files.c.ready_at.is_(None), _IS_KEPT)
    row = c.execute(ready.values(ready_at=now()).returning(*COLUMNS)).one_or_none()
    if row is None:
        raise Conflict("The upload took too long and was given up; send the file again.")
    put()
    return record(row)


def get(c: Connection, workspace_id: str, file_id: str) -> File:
    """A file of a workspace. Raises NotFound."""
    row = c.execute(_GET, {"workspace": workspace_id, "file": file_id}).one_or_none()
    if row is None:
        raise NotFound(_NOT_THERE)
    return record(row)


def listing(c: Connection, workspace_id: str, *, limit: int = 20, cursor: str | None = None) -> Page[File]:
    """The files of a workspace, newest first."""
    query = sa.select(*COLUMNS).where(files.c.workspace_id == workspace_id, _IS_READY)
    values: dict[str, Any] = {}
    if cursor:
        query, values = (
            query.where(after(files.c.created_at, files.c.id)),
            start_of(cursor),
        )
    rows = c.execute(
        query.order_by(files.c.created_at.desc(), files.c.id.desc()).limit(limit + 1),
        values,
    )
    return Page.of(rows.all(), limit, record, lambda row: (row.created_at, row.id))


def of_run(c: Connection, run: Run, file_id: str) -> File:
    """A file that messages of the thread of a run name. Raises NotFound."""
    query = _GET.join(file_uses, file_uses.c.file_id == files.c.id)
    query = query.where(file_uses.c.thread_id == run.thread_id)
    row = c.execute(query, {"workspace": run.workspace_id, "file": file_id}).one_or_none()
    if row is None:
        raise NotFound(_NOT_THERE)
    return record(row)


def made_before(c: Connection, run: Run, name: str, hash: str) -> File | None:
    """The same file, which an earlier attempt of a run has made."""
    query = sa.select(*COLUMNS).where(
        files.c.workspace_id == run.workspace_id,
        files.c.hash == hash,
        files.c.run_id == run.id,
        files.c.name == name,
        _IS_READY,
    )
    row = c.execute(query.limit(1)).one_or_none()
    return record(row) if row else None


def used(c: Connection, user_id: str) -> int:
    """Bytes of all files of a user."""
    return int(c.execute(_USED, {"user": user_id}).scalar_one())


def find(c: Connection, workspace_id: str, file_ids: Sequence[str]) -> dict[str, File]:
    """Those of these files that the workspace has, by id."""
    rows = c.execute(_FIND, {"workspace": workspace_id, "ids": list(file_ids)})
    return {row.id: record(row) for row in rows}


def name(c: Connection, workspace_id: str, thread_id: str, new: Sequence[NewMessage]) -> list[NewMessage]:
    """Messages that are ``new`` in a thread, with all that they tell of the files that they name.

    To be called in the transaction that stores them. The files stay until it ends, and then for
    as long as the thread. Raises NotFound.
    """
    ids = ids_of(new)
    if not ids:
        return list(new)
    found = hold(c, workspace_id, ids)
    named = [_named(message, found) for message in new]
    use(c, thread_id, ids)
    return named


def of_state(c: Connection, thread_id: str, state_id: str) -> list[File]:
    """The files that messages of the user name in a state of a thread."""
    this = (states.c.id == state_id, states.c.thread_id == thread_id, states.c.id == messages.c.state_id)
    named = (messages.c.role == Role.USER, ~messages.c.void, messages.c.files.is_not(None))
    query = sa.select(messages.c.files).where(*this, *named)
    ids = [file["id"] for mentions in c.execute(query).scalars() for file in mentions or ()]
    return [record(row) for row in c.execute(_OF_IDS, {"ids": ids})] if ids else []


def of_thread(c: Connection, thread_id: str, file_ids: Sequence[str]) -> dict[str, File]:
    """Those of these files that messages of a thread name, by id."""
    query = _OF_IDS.join(file_uses, file_uses.c.file_id == files.c.id)
    rows = c.execute(query.where(file_uses.c.thread_id == thread_id), {"ids": list(file_ids)})
    return {row.id: record(row) for row in rows}


def use(c: Connection, thread_id: str, file_ids: Sequence[str]) -> None:
    """Messages of a thread name these files, which are there until this transaction ends."""
    rows = [{"file_id": file_id, "thread_id": thread_id} for file_id in file_ids]
    if rows:
        c.execute(_USE[c.dialect.name], rows)


def hold(c: Connection, workspace_id: str, file_ids: Sequence[str]) -> dict[str, File]:
    """Those of these files that the workspace has, by id; they stay until this transaction ends."""
    values = {"workspace": workspace_id, "ids": list(file_ids)}
    return {row.id: record(row) for row in c.execute(_HOLD, values)} if file_ids else {}


def ids_of(written: Sequence[NewMessage] | Sequence[Message]) -> list[str]:
    """The ids of all files that messages name, each once."""
    return list(dict.fromkeys(file["id"] for message in written for file in message.files or ()))


def forget(c: Connection, workspace_id: str, file_id: str) -> File:
    """Delete a file that no message names. Raises NotFound, and Conflict where one does."""
    row = c.execute(_GET.with_for_update(), {"workspace": workspace_id, "file": file_id}).one_or_none()
    if row is None:
        raise NotFound(_NOT_THERE)
    # A statement of its own, which sees what was committed while the row was waited for.
    if c.execute(sa.select(file_uses.c.file_id).where(file_uses.c.file_id == file_id).limit(1)).first():
        raise Conflict(
            "Messages name this file, so it stays as long as they do. "
            "It goes when their threads are deleted for good."
        )
    c.execute(files.update().where(files.c.id == file_id).values(deleted_at=now()))
    return record(row)


def give_up(c: Connection, file: File) -> None:
    """The content of a file that was begun cannot be stored."""
    c.execute(
        files.update().where(files.c.id == file.id, files.c.ready_at.is_(None)).values(deleted_at=now())
    )


def expire(c: Connection, days: float) -> int:
    """Mark as deleted what nobody has finished, and what no message has named for ``days``; how many."""
    too_old = sa.case(
        (files.c.ready_at.is_(None), files.c.created_at < now(-_UPLOAD_SECONDS)),
        else_=files.c.created_at < now(-days * 86400),
    )
    old = sa.select(files.c.id).where(_IS_KEPT, too_old, ~_IS_USED).limit(_AT_ONCE)
    ids = list(c.execute(old.with_for_update(skip_locked=True)).scalars())
    if not ids:
        return 0
    # Again, in a statement of its own: a message may have named one just before it was locked.
    gone = files.update().where(files.c.id.in_(ids), ~_IS_USED).values(deleted_at=now())
    return int(c.execute(gone).rowcount)


def deleted(c: Connection) -> list[File]:
    """Some of those that are marked as deleted."""
    query = sa.select(*COLUMNS).where(~_IS_KEPT).order_by(files.c.deleted_at).limit(_AT_ONCE)
    return [record(row) for row in c.execute(query)]


def drop(c: Connection, file: File, delete: Callable[[], object]) -> None:
    """Remove a deleted file, and have ``delete`` remove its content unless another file has the same."""
    _lock_content(c, file)
    same = (
        files.c.workspace_id == file.workspace_id,
        files.c.hash == file.hash,
        files.c.id != file.id,
    )
    if c.execute(sa.select(files.c.id).where(*same, _IS_KEPT).limit(1)).first() is None:
        delete()
    c.execute(files.delete().where(files.c.id == file.id, ~_IS_KEPT))


def record(row: Sequence[Any]) -> File:
    """The record of a row that begins with :data:`COLUMNS`."""
    return File(*row[: len(COLUMNS)])


def _named(message: NewMessage, found: dict[str, File]) -> NewMessage:
    if not message.files:
        return message
    for file in message.files:
        if file["id"] not in found:
            raise NotFound(f"There is no file {file['id']}; upload it first.")
    return replace(message, files=[found[file["id"]].mention() for file in message.files])


def _values(file: File) -> dict[str, Any]:
    return {column.name: getattr(file, column.name) for column in COLUMNS}


def _lock_content(c: Connection, file: File) -> None:
    lock_transaction(c, _key(file.workspace_id, file.hash))


def _key(*of: str) -> int:
    digest = hashlib.blake2b(":".join(of).encode(), digest_size=8, person=b"files")
    return int.from_bytes(digest.digest(), "big", signed=True)


COLUMNS = [files.c[name] for name in File.__dataclass_fields__]
_IS_KEPT = files.c.deleted_at.is_(None)
_IS_READY = sa.and_(files.c.ready_at.is_not(None), _IS_KEPT)
_IS_USED = sa.exists().where(file_uses.c.file_id == files.c.id)
_WORKSPACE = files.c.workspace_id == sa.bindparam("workspace", type_=Id)
_IDS = files.c.id.in_(sa.bindparam("ids", expanding=True, type_=files.c.id.type))
_GET = sa.select(*COLUMNS).where(files.c.id == sa.bindparam("file", type_=Id), _WORKSPACE, _IS_READY)
_OF_IDS = sa.select(*COLUMNS).where(_IDS, _IS_READY)
_FIND = _OF_IDS.where(_WORKSPACE)
_HOLD = _FIND.with_for_update(read=True)
_USED = sa.select(sa.func.coalesce(sa.func.sum(files.c.size), 0)).where(
    files.c.user_id == sa.bindparam("user", type_=Id), _IS_KEPT
)
_USE = insert_or_ignore(file_uses)
