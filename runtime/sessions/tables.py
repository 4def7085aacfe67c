"""The tables of sessions."""

from __future__ import annotations

import sqlalchemy as sa

from runtime.sessions.model import TRANSITIONS
from runtime.store.tables import Id, Json, Time, metadata

_IS_OPEN = "status IN ('running', 'waiting')"

sessions = sa.Table(
    "thread_sessions",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("thread_id", Id, sa.ForeignKey("threads.id", ondelete="CASCADE"), nullable=False, unique=True),
    sa.Column("workspace_id", Id, nullable=False),
    sa.Column("user_id", Id, nullable=False),
    sa.Column("worker_id", sa.Text),
    sa.Column("config", Json),
    sa.Column("status", sa.String(10), nullable=False),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("transition", sa.Integer, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("tip_state_id", Id, nullable=False),
    sa.Column("tip_is_set", sa.Boolean, nullable=False),
    sa.Column("run_id", Id),  # of the last turn
    sa.Column("wish", sa.String(10)),  # of a person, for the end of the turn
    sa.Column("auto", Json, nullable=False),
    sa.Column("window", Json, nullable=False),
    sa.Column("limits", Json, nullable=False),
    sa.Column("used", Json, nullable=False),
    sa.Column("progress", Json, nullable=False),
    sa.Column("stop_reason", Json),
    sa.Column("held", sa.Text),
    sa.Column("running_since", Time),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("updated_at", Time, nullable=False),
    # Of the tokens that count; those of an earlier one are revoked.
    sa.Column("token_generation", sa.Integer, nullable=False, server_default="0"),
    sa.Index(
        "ix_thread_sessions_open",
        "run_id",
        postgresql_where=sa.text(_IS_OPEN),
        sqlite_where=sa.text(_IS_OPEN),
    ),
)
IS_OPEN = sessions.c.status.in_([sa.literal_column("'running'"), sa.literal_column("'waiting'")])
"""That a turn is under way; literals, so that the index applies."""

LEGAL = ", ".join(
    f"'{before}>{after}'" for before, targets in TRANSITIONS.items() for after in sorted(targets)
)

session_transitions = sa.Table(
    "session_transitions",
    metadata,
    sa.Column("session_id", Id, sa.ForeignKey("thread_sessions.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("from_status", sa.String(10), nullable=False),
    sa.Column("to_status", sa.String(10), nullable=False),
    sa.Column("by", sa.String(10), nullable=False),
    sa.Column("user_id", Id),
    sa.Column("run_id", Id),
    sa.Column("code", sa.Text),
    sa.Column("message", sa.Text),
    sa.Column("created_at", Time, nullable=False),
    sa.CheckConstraint(f"from_status || '>' || to_status IN ({LEGAL})", name="is_legal"),
)
