"""Summaries of what the window of a run leaves out, and tasks that the end of a run wakes.

Revision ID: 0027
Revises: 0026
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_ID = sa.Uuid(as_uuid=False)
_TIME = sa.DateTime(timezone=True).with_variant(sa.String(24), "sqlite")


def upgrade() -> None:
    """Make the table and the column."""
    if op.get_bind().dialect.name != "sqlite":
        op.execute("SET LOCAL lock_timeout = '3s'")
    op.create_table(
        "summaries",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("thread_id", _ID, sa.ForeignKey("threads.id", ondelete="CASCADE"), nullable=False),
        sa.Column("state_id", _ID, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("messages", sa.Integer, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
    )
    op.create_index("ix_summaries_thread_id", "summaries", ["thread_id"])
    op.create_index("ix_summaries_state", "summaries", ["state_id", "position"], unique=True)
    op.add_column("runs", sa.Column("awaited_by", sa.Text))


def downgrade() -> None:
    """Drop them, and the threads on which summaries are made, which are no titles."""
    op.execute("DELETE FROM threads WHERE id IN (SELECT thread_id FROM runs WHERE awaited_by IS NOT NULL)")
    op.drop_column("runs", "awaited_by")
    op.drop_table("summaries")
