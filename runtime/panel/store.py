"""The SQL of agent chats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import Conflict, SessionExpired
from runtime.model import RunStatus, ThreadStatus
from runtime.panel.model import AgentChat, AgentType, Caller
from runtime.panel.tables import agent_chat_messages, agent_chats
from runtime.sessions.model import Session, Status
from runtime.sessions.tables import IS_OPEN, sessions
from runtime.store.page import Page, position_of
from runtime.store.tables import now, runs, threads

_COLUMNS = [agent_chats.c[name] for name in AgentChat.__dataclass_fields__]


def create(
    c: Connection,
    session: Session,
    agent_type: AgentType,
    project_id: str | None,
    subject: str | None,
    continues: str | None = None,
) -> AgentChat:
    """The chat of a new session."""
    made = agent_chats.insert().values(
        session_id=session.id,
        thread_id=session.thread_id,
        workspace_id=session.workspace_id,
        user_id=session.user_id,
        agent_type=agent_type,
        project_id=project_id,
        subject=subject,
        continues=continues,
        created_at=now(),
        used_at=now(),
    )
    return _record(c.execute(made.returning(*_COLUMNS)).one())


def get(c: Connection, caller: Caller, session_id: str, ttl: float, *, lock: bool = False) -> AgentChat:
    """The caller's chat, if it was used in the last ``ttl`` seconds. Raises SessionExpired.

    ``lock``: nobody else changes it until this transaction ends.
    """
    query = _live(ttl).where(agent_chats.c.session_id == session_id, *_of(caller))
    if lock:
        query = query.with_for_update(of=agent_chats)
    row = c.execute(query).one_or_none()
    if row is None:
        raise SessionExpired
    return _record(row)


def continuation(c: Connection, caller: Caller, session_id: str, ttl: float) -> AgentChat | None:
    """The caller's chat that was begun to continue this one, the newest, if it has not expired."""
    query = _live(ttl).where(agent_chats.c.continues == session_id, *_of(caller))
    row = c.execute(query.order_by(agent_chats.c.created_at.desc()).limit(1)).one_or_none()
    return _record(row) if row else None


def listing(
    c: Connection,
    caller: Caller,
    ttl: float,
    *,
    project_id: str | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> Page[AgentChat]:
    """The chats that have not expired, last used first; of one project if that is named."""
    query = _live(ttl).where(*_of(caller))
    if project_id is not None:
        query = query.where(agent_chats.c.project_id == project_id)
    order = agent_chats.c.used_at, agent_chats.c.session_id
    if cursor:
        query = query.where(sa.tuple_(*order) < position_of(cursor, *order))
    query = query.order_by(*(column.desc() for column in order)).limit(limit + 1)
    return Page.of([*c.execute(query)], limit, _record, lambda row: (row.used_at, row.session_id))


def working(c: Connection, session_id: str) -> str | None:
    """The run of a chat's last turn, if it is being executed."""
    query = sa.select(runs.c.id).join(sessions, sessions.c.run_id == runs.c.id)
    of_session = query.where(sessions.c.id == session_id, runs.c.status == RunStatus.RUNNING)
    return c.execute(of_session).scalar_one_or_none()


def project_of(c: Connection, thread_id: str) -> tuple[str | None] | None:
    """The label of the chat that a thread is of, or is called from; None: it is of none."""
    of_chat = sa.func.coalesce(threads.c.called_from, threads.c.id)
    query = sa.select(agent_chats.c.project_id).join(threads, of_chat == agent_chats.c.thread_id)
    row = c.execute(query.where(threads.c.id == thread_id)).one_or_none()
    return (row.project_id,) if row else None


def use(c: Connection, session_id: str) -> None:
    """Note that the chat is used now."""
    c.execute(agent_chats.update().where(agent_chats.c.session_id == session_id).values(used_at=now()))


def sent_before(c: Connection, session_id: str, client_id: str, fingerprint: str) -> str | None:
    """The run of a message that has this name; None where none has.

    Raises Conflict where the message was another one.
    """
    query = sa.select(agent_chat_messages.c.fingerprint, agent_chat_messages.c.run_id).where(
        agent_chat_messages.c.session_id == session_id, agent_chat_messages.c.client_id == client_id
    )
    row = c.execute(query).one_or_none()
    if row is None:
        return None
    if row.fingerprint != fingerprint:
        raise Conflict("This client_id has named another message; take a new one for each message.")
    return str(row.run_id)


def keep_sent(c: Connection, session_id: str, client_id: str, fingerprint: str, run_id: str) -> None:
    """Note the run of a message that has a name."""
    kept = {"session_id": session_id, "client_id": client_id, "fingerprint": fingerprint, "run_id": run_id}
    c.execute(agent_chat_messages.insert().values(kept))


def unused(c: Connection, ttl: float, limit: int = 100) -> list[str]:
    """The sessions of chats that nobody has used for ``ttl`` seconds, and whose agent answers nothing."""
    return list(c.execute(_UNUSED, {"ttl": -ttl, "limit": limit}).scalars())


def end(c: Connection, session_ids: Sequence[str], ttl: float) -> None:
    """End those of these chats that are still unused, and archive their threads."""
    ended = agent_chats.update().where(agent_chats.c.session_id.in_(session_ids), _IS_UNUSED)
    ended = ended.values(ended_at=now())
    thread_ids = list(c.execute(ended.returning(agent_chats.c.thread_id), {"ttl": -ttl}).scalars())
    archived = threads.update().where(threads.c.id.in_(thread_ids), threads.c.deleted_at.is_(None))
    c.execute(archived.values(status=ThreadStatus.ARCHIVED, updated_at=now()))


def _of(caller: Caller) -> tuple[sa.ColumnElement[bool], ...]:
    of_workspace = agent_chats.c.workspace_id == caller.user.workspace_id
    if caller.subject is None:
        return (of_workspace,)
    return of_workspace, agent_chats.c.subject == caller.subject


def _live(ttl: float) -> sa.Select[Any]:
    return (
        sa.select(*_COLUMNS)
        .join(sessions, sessions.c.id == agent_chats.c.session_id)
        .join(threads, threads.c.id == agent_chats.c.thread_id)
        .where(
            agent_chats.c.ended_at.is_(None),
            threads.c.deleted_at.is_(None),
            sessions.c.status != Status.CLOSED,
            IS_OPEN | (agent_chats.c.used_at > now(-ttl)),
        )
    )


def _record(row: Sequence[Any]) -> AgentChat:
    values = dict(zip(AgentChat.__dataclass_fields__, row, strict=True))
    values["agent_type"] = AgentType(values["agent_type"])
    return AgentChat(**values)


_IS_UNUSED = agent_chats.c.ended_at.is_(None) & (
    agent_chats.c.used_at <= now(sa.bindparam("ttl", type_=sa.Float))
)
_UNUSED = (
    sa.select(agent_chats.c.session_id)
    .join(sessions, sessions.c.id == agent_chats.c.session_id)
    .where(_IS_UNUSED, ~IS_OPEN)
    .limit(sa.bindparam("limit", type_=sa.Integer))
)
