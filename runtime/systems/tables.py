"""The tables of systems."""

from __future__ import annotations

import sqlalchemy as sa

from runtime.store.tables import Id, Json, Time, metadata
from runtime.systems.model import MessageStatus

systems = sa.Table(
    "systems",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("workspace_id", Id, sa.ForeignKey("workspaces.id", ondelete="CASCADE"), nullable=False),
    sa.Column("user_id", Id, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("definition", Json, nullable=False),
    sa.Column("thread_id", Id, nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("updated_at", Time, nullable=False),
    sa.Index("ix_systems_list", "workspace_id", "created_at", "id"),
)


def _of_system() -> sa.Column[str]:
    return sa.Column("system_id", Id, sa.ForeignKey("systems.id", ondelete="CASCADE"), nullable=False)


entities = sa.Table(
    "system_entities",
    metadata,
    sa.Column("id", Id, primary_key=True),
    _of_system(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("worker_id", sa.Text, nullable=False),
    sa.Column("config", Json, nullable=False),
    sa.Column("components", Json, nullable=False),
    sa.Column("accepts", Json),
    sa.Column("mailbox_size", sa.Integer, nullable=False),
    sa.Column("when_full", sa.String(20), nullable=False),
    sa.Column("concurrency", sa.Integer, nullable=False),
    sa.Column("entry", sa.Boolean, nullable=False),
    sa.Column("thread_id", Id, nullable=False),
    sa.Column("tip_state_id", Id, nullable=False),
    sa.Column("last_number", sa.Integer, nullable=False),
    sa.Index("ix_system_entities_name", "system_id", "name", unique=True),
)

correlations = sa.Table(
    "system_correlations",
    metadata,
    sa.Column("id", Id, primary_key=True),
    _of_system(),
    sa.Column("messages", sa.Integer, nullable=False),  # that belong to it
    sa.Index("ix_system_correlations_system_id", "system_id"),
)


def _partial(name: str, *columns: str, where: str) -> sa.Index:
    text = sa.text(where)
    return sa.Index(name, *columns, postgresql_where=text, sqlite_where=text)


_UNDER_WAY = "status IN ('held', 'waiting', 'working')"

letters = sa.Table(
    "system_messages",
    metadata,
    sa.Column("id", Id, primary_key=True),
    _of_system(),
    sa.Column("entity_id", Id),
    sa.Column("correlation_id", Id, nullable=False),
    sa.Column("cause_id", Id),
    sa.Column("sender_id", Id),
    sa.Column("number", sa.Integer),  # in the mailbox
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("body", Json, nullable=False),
    sa.Column("error", sa.Boolean, nullable=False),
    sa.Column("reply_to", Id),
    sa.Column("race_id", Id),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("hops", sa.Integer, nullable=False),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("reason", sa.String(40)),
    sa.Column("answer", Json),
    sa.Column("run_id", Id),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("deadline", Time),
    sa.Column("started_at", Time),
    sa.Column("ended_at", Time),
    sa.Index("ix_system_messages_list", "system_id", "created_at", "id"),
    sa.Index("ix_system_messages_number", "entity_id", "number", unique=True),
    sa.Index("ix_system_messages_cause", "cause_id"),
    _partial("ix_system_messages_under_way", "system_id", where=_UNDER_WAY),
    _partial("ix_system_messages_correlation", "correlation_id", where=_UNDER_WAY),
    _partial("ix_system_messages_held_to", "entity_id", "id", where="status = 'held'"),
    _partial("ix_system_messages_waiting", "entity_id", "number", where="status = 'waiting'"),
    _partial("ix_system_messages_working", "entity_id", where="status = 'working'"),
    _partial("ix_system_messages_held", "sender_id", "id", where="status = 'held'"),
    _partial("ix_system_messages_race", "race_id", where="race_id IS NOT NULL"),
    _partial("ix_system_messages_dead", "system_id", "created_at", "id", where="status = 'dead'"),
)


def has_status(status: MessageStatus) -> sa.ColumnElement[bool]:
    """That a message has a status: a literal, so that the partial indexes apply."""
    return letters.c.status == sa.literal_column(f"'{status.value}'")


IS_HELD = has_status(MessageStatus.HELD)
IS_WAITING = has_status(MessageStatus.WAITING)
IS_WORKING = has_status(MessageStatus.WORKING)
IS_UNDER_WAY: sa.ColumnElement[bool] = letters.c.status.in_(
    [sa.literal_column(f"'{status}'") for status in ("held", "waiting", "working")]
)
