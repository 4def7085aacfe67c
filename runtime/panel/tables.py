"""The tables of agent chats."""

from __future__ import annotations

import sqlalchemy as sa

from runtime.store.tables import Id, Time, metadata

_IS_LIVE = "ended_at IS NULL"

agent_chats = sa.Table(
    "agent_chats",
    metadata,
    sa.Column("session_id", Id, sa.ForeignKey("thread_sessions.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("thread_id", Id, nullable=False),
    sa.Column("workspace_id", Id, nullable=False),
    sa.Column("user_id", Id, nullable=False),
    sa.Column("agent_type", sa.String(10), nullable=False),
    sa.Column("project_id", sa.Text),
    sa.Column("subject", sa.Text),  # of an embedder's user who has begun it by a token
    sa.Column("continues", Id),  # the chat that this one was begun to continue
    sa.Column("created_at", Time, nullable=False),
    sa.Column("used_at", Time, nullable=False),
    sa.Column("ended_at", Time),  # when nobody had used it for too long
    sa.Index("ix_agent_chats_workspace_id", "workspace_id", "used_at", "session_id"),
    sa.Index("ix_agent_chats_subject", "workspace_id", "subject", "used_at", "session_id"),
    sa.Index("ix_agent_chats_thread_id", "thread_id"),
    sa.Index("ix_agent_chats_continues", "continues"),
    sa.Index(
        "ix_agent_chats_live",
        "used_at",
        postgresql_where=sa.text(_IS_LIVE),
        sqlite_where=sa.text(_IS_LIVE),
    ),
)

agent_chat_messages = sa.Table(
    "agent_chat_messages",
    metadata,
    sa.Column(
        "session_id", Id, sa.ForeignKey("agent_chats.session_id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("client_id", Id, primary_key=True),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("run_id", Id, nullable=False),
)
"""The messages that a client has named, so that each is taken once."""

agent_chat_subjects = sa.Table(
    "agent_chat_subjects",
    metadata,
    sa.Column("workspace_id", Id, sa.ForeignKey("workspaces.id"), primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("token_generation", sa.Integer, nullable=False),
)
"""Subjects whose tokens were revoked, and which of them count since."""
