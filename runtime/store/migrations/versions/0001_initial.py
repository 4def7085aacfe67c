"""The tables of the first release.

Keys and indexes are named by the convention of ``runtime.store.tables``.

Revision ID: 0001
Revises: nothing
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.Uuid(as_uuid=False)
TIME = sa.DateTime(timezone=True).with_variant(sa.String(24), "sqlite")
JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "workspaces",
        sa.Column("id", ID, primary_key=True),
        sa.Column("name", sa.Text),
        sa.Column("created_at", TIME, nullable=False),
    )
    op.create_table(
        "users",
        sa.Column("id", ID, primary_key=True),
        sa.Column("workspace_id", ID, sa.ForeignKey("workspaces.id"), nullable=False),
        sa.Column("email", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("id", ID, primary_key=True),
        sa.Column("user_id", ID, sa.ForeignKey("users.id"), nullable=False, index=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
    )
    op.create_table(
        "api_tokens",
        sa.Column("id", ID, primary_key=True),
        sa.Column("user_id", ID, sa.ForeignKey("users.id"), nullable=False, index=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_used_at", TIME),
    )
    op.create_table(
        "threads",
        sa.Column("id", ID, primary_key=True),
        sa.Column("workspace_id", ID, sa.ForeignKey("workspaces.id"), nullable=False),
        sa.Column("user_id", ID, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("title", sa.Text),
        sa.Column("worker_id", sa.Text),
        sa.Column("config", JSON, nullable=False),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("root_state_id", ID, nullable=False),
        sa.Column("latest_state_id", ID, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("deleted_at", TIME),
        sa.Index("ix_threads_list", "workspace_id", "status", "updated_at", "id"),
    )
    op.create_table(
        "states",
        sa.Column("id", ID, primary_key=True),
        sa.Column("thread_id", ID, sa.ForeignKey("threads.id", ondelete="CASCADE"), nullable=False),
        sa.Column("parent_id", ID),
        sa.Column("depth", sa.Integer, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("children", sa.Integer, nullable=False),
        sa.Column("run_id", ID),
        sa.Column("label", sa.Text),
        sa.Column("starred", sa.Boolean, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Index("ix_states_tree", "thread_id", "id"),
        sa.Index("ix_states_siblings", "parent_id", "ordinal", unique=True),
    )
    op.create_table(
        "messages",
        sa.Column("id", ID, primary_key=True),
        sa.Column("state_id", ID, sa.ForeignKey("states.id", ondelete="CASCADE"), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("void", sa.Boolean, nullable=False),
        sa.Column("role", sa.String(10), nullable=False),
        sa.Column("type", sa.String(12), nullable=False),
        sa.Column("channel", sa.String(10), nullable=False),
        sa.Column("author", sa.Text),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("data", JSON, nullable=False),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("run_id", ID),
        sa.Column("created_at", TIME, nullable=False),
        sa.Index("ix_messages_state", "state_id", "position"),
    )
    op.create_table(
        "runs",
        sa.Column("id", ID, primary_key=True),
        sa.Column("thread_id", ID, sa.ForeignKey("threads.id", ondelete="CASCADE"), nullable=False),
        sa.Column("workspace_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("parent_run_id", ID),
        sa.Column("input_state_id", ID, nullable=False),
        sa.Column("output_state_id", ID, nullable=False),
        sa.Column("worker_id", sa.Text, nullable=False),
        sa.Column("worker_digest", sa.String(64), nullable=False),
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("config", JSON, nullable=False),
        sa.Column("args", JSON),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("reaps", sa.Integer, nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("timeout_seconds", sa.Float, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("lease_until", TIME),
        sa.Column("claimed_by", sa.Text),
        sa.Column("not_before", TIME),
        sa.Column("cancel_requested_at", TIME),
        sa.Column("published_at", TIME),
        sa.Column("announced_at", TIME),
        sa.Column("error", JSON),
        sa.Column("usage", JSON),
        sa.Column("confirmation", JSON),
        sa.Column("answers", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("started_at", TIME),
        sa.Column("finished_at", TIME),
        sa.Index("ix_runs_thread", "thread_id", "id"),
        sa.Index("ix_runs_list", "workspace_id", "id"),
        sa.Index(
            "ix_runs_backlog",
            "pool",
            "published_at",
            "id",
            postgresql_where=sa.text("status = 'queued'"),
            sqlite_where=sa.text("status = 'queued'"),
        ),
        sa.Index(
            "ix_runs_running",
            "lease_until",
            postgresql_where=sa.text("status = 'running'"),
            sqlite_where=sa.text("status = 'running'"),
        ),
        sa.Index(
            "ix_runs_unannounced",
            "finished_at",
            postgresql_where=sa.text("finished_at IS NOT NULL AND announced_at IS NULL"),
            sqlite_where=sa.text("finished_at IS NOT NULL AND announced_at IS NULL"),
        ),
    )
    op.create_table(
        "run_steps",
        sa.Column("run_id", ID, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
    )
    op.create_table(
        "run_logs",
        sa.Column("run_id", ID, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("truncated", sa.Boolean, nullable=False),
    )
    op.create_table(
        "requests",
        sa.Column("user_id", ID, primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("answer", JSON),
        sa.Column("created_at", TIME, nullable=False, index=True),
    )
    op.create_table(
        "pools",
        sa.Column("incarnation", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, index=True),
        sa.Column("slots", sa.Integer, nullable=False),
        sa.Column("workers", JSON, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
    )


def downgrade() -> None:
    """Drop every table, and all that is in them."""
    for table in (
        "pools",
        "requests",
        "run_logs",
        "run_steps",
        "runs",
        "messages",
        "states",
        "threads",
        "api_tokens",
        "sessions",
        "users",
        "workspaces",
    ):
        op.drop_table(table)
