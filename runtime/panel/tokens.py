"""The tokens of an embedder's own users: whom they stand for, what they reach, and how they end.

An application makes one for its user, whom it calls by a ``subject``, and the user's page shows it.
It reaches the agent chats that were begun with tokens of that subject, and what is of their threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.model import User
from runtime.panel.tables import agent_chat_subjects, agent_chats
from runtime.sessions.tokens import unnameable_in
from runtime.store.dialects import insert_or_ignore
from runtime.store.tables import Id, Time, file_uses, now, runs, states, threads, users
from runtime.tokens import AgentGrant


def grant(c: Connection, user: User, subject: str, agent_types: Sequence[str], *, seconds: int) -> AgentGrant:
    """What a new token permits, for so many seconds by the database's clock."""
    where = {"workspace": user.workspace_id, "subject": subject}
    generation = c.execute(_GENERATION, where).scalar_one_or_none() or 0
    until = c.execute(sa.select(now(seconds))).scalar_one()
    return AgentGrant(user.id, subject, tuple(agent_types), generation, ceil(until.timestamp()))


def revoke(c: Connection, user: User, subject: str) -> None:
    """End all tokens of this subject that were given out so far."""
    c.execute(_NOTE[c.dialect.name], {"workspace_id": user.workspace_id, "subject": subject})
    c.execute(_REVOKE, {"workspace": user.workspace_id, "subject_": subject})


def account(c: Connection, given: AgentGrant) -> User | None:
    """The account that a token stands for; None where it is over or revoked, or the account is gone."""
    row = c.execute(
        _ACCOUNT,
        {
            "user": given.user_id,
            "subject": given.subject,
            "generation": given.generation,
            "until": datetime.fromtimestamp(given.expires_at, UTC),
        },
    ).one_or_none()
    return User(*row) if row else None


def reaches(c: Connection, user: User, given: AgentGrant, kind: str, id: str) -> bool:
    """Whether a thing is of one of the subject's chats. ``kind``: ``state``, ``run`` or ``file``."""
    where = {"workspace": user.workspace_id, "subject": given.subject, "thing": id}
    return c.execute(_REACHES[kind], where).first() is not None


def unnameable(c: Connection, user: User, subject: str, file_ids: Sequence[str]) -> str | None:
    """The first of these files that new messages of the subject's may not name; None: they may."""
    return unnameable_in(c, user, _threads_of_subject(user, subject), file_ids)


def threads_of(user: User, given: AgentGrant) -> sa.Select[tuple[str]]:
    """The threads that a token reaches; those of their sub-runs are further ones."""
    return _threads_of_subject(user, given.subject)


def _threads_of_subject(user: User, subject: str) -> sa.Select[tuple[str]]:
    return _threads_of(sa.literal(user.workspace_id, Id), sa.literal(subject, sa.Text))


def _threads_of(workspace: sa.ColumnElement[str], subject: sa.ColumnElement[str]) -> sa.Select[tuple[str]]:
    return sa.select(agent_chats.c.thread_id).where(
        agent_chats.c.workspace_id == workspace, agent_chats.c.subject == subject
    )


_SUBJECT = sa.bindparam("subject", type_=sa.Text)
_WORKSPACE = sa.bindparam("workspace", type_=Id)
_GENERATION = sa.select(agent_chat_subjects.c.token_generation).where(
    agent_chat_subjects.c.workspace_id == _WORKSPACE, agent_chat_subjects.c.subject == _SUBJECT
)
_NOTE = insert_or_ignore(agent_chat_subjects, token_generation=0)
_REVOKE = (
    agent_chat_subjects.update()
    .where(
        agent_chat_subjects.c.workspace_id == _WORKSPACE,
        agent_chat_subjects.c.subject == sa.bindparam("subject_", type_=sa.Text),
    )
    .values(token_generation=agent_chat_subjects.c.token_generation + 1)
)
_ACCOUNT = (
    sa.select(*(users.c[name] for name in User.__dataclass_fields__))
    .outerjoin(
        agent_chat_subjects,
        (agent_chat_subjects.c.workspace_id == users.c.workspace_id)
        & (agent_chat_subjects.c.subject == _SUBJECT),
    )
    .where(
        users.c.id == sa.bindparam("user", type_=Id),
        sa.func.coalesce(agent_chat_subjects.c.token_generation, 0)
        == sa.bindparam("generation", type_=sa.Integer),
        now() < sa.bindparam("until", type_=Time()),
    )
)
_MINE = _threads_of(_WORKSPACE, _SUBJECT)


def _reaches(of: sa.Select[tuple[str]]) -> sa.Select[tuple[str]]:
    return (
        sa.select(threads.c.id)
        .where(
            threads.c.id.in_(of),
            threads.c.deleted_at.is_(None),
            threads.c.id.in_(_MINE) | threads.c.called_from.in_(_MINE),
        )
        .limit(1)
    )


_THING = sa.bindparam("thing", type_=Id)
_REACHES = {
    "state": _reaches(sa.select(states.c.thread_id).where(states.c.id == _THING)),
    "run": _reaches(sa.select(runs.c.thread_id).where(runs.c.id == _THING)),
    "file": _reaches(sa.select(file_uses.c.thread_id).where(file_uses.c.file_id == _THING)),
}
