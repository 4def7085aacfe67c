"""Sessions: threads that go on by themselves, and the history of their states.

Revision ID: 0024
Revises: 0023
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_ID = sa.Uuid(as_uuid=False)
_TIME = sa.DateTime(timezone=True).with_variant(sa.String(24), "sqlite")
_JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
_LEGAL = (
    "'init>closed', 'init>running', 'running>closed', 'running>stop', 'running>waiting', "
    "'waiting>closed', 'waiting>running', 'waiting>stop', 'stop>closed', 'stop>running'"
)


def upgrade() -> None:
    """Make the tables, and note of a run which turn of which session it is."""
    op.create_table(
        "thread_sessions",
        sa.Column("id", _ID, primary_key=True),
        sa.Column(
            "thread_id", _ID, sa.ForeignKey("threads.id", ondelete="CASCADE"), nullable=False, unique=True
        ),
        sa.Column("workspace_id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("worker_id", sa.Text),
        sa.Column("config", _JSON),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("transition", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("tip_state_id", _ID, nullable=False),
        sa.Column("tip_is_set", sa.Boolean, nullable=False),
        sa.Column("run_id", _ID),
        sa.Column("wish", sa.String(10)),
        *(
            sa.Column(name, _JSON, nullable=False)
            for name in ("auto", "window", "limits", "used", "progress")
        ),
        sa.Column("stop_reason", _JSON),
        sa.Column("held", sa.Text),
        sa.Column("running_since", _TIME),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
    )
    is_open = sa.text("status IN ('running', 'waiting')")
    op.create_index(
        "ix_thread_sessions_open",
        "thread_sessions",
        ["run_id"],
        postgresql_where=is_open,
        sqlite_where=is_open,
    )
    op.create_table(
        "session_transitions",
        sa.Column(
            "session_id", _ID, sa.ForeignKey("thread_sessions.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("from_status", sa.String(10), nullable=False),
        sa.Column("to_status", sa.String(10), nullable=False),
        sa.Column("by", sa.String(10), nullable=False),
        sa.Column("user_id", _ID),
        sa.Column("run_id", _ID),
        sa.Column("code", sa.Text),
        sa.Column("message", sa.Text),
        sa.Column("created_at", _TIME, nullable=False),
        sa.CheckConstraint(f"from_status || '>' || to_status IN ({_LEGAL})", name="is_legal"),
    )
    op.add_column("runs", sa.Column("session_id", _ID))
    op.add_column("runs", sa.Column("turn", sa.Integer))
    op.add_column("runs", sa.Column("finish_reason", sa.Text))


def downgrade() -> None:
    """Drop them."""
    for name in ("finish_reason", "turn", "session_id"):
        op.drop_column("runs", name)
    op.drop_table("session_transitions")
    op.drop_table("thread_sessions")
