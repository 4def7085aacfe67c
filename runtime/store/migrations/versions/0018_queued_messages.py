"""Messages that are sent to a run while it is under way.

Revision ID: 0018
Revises: 0017
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_ID = sa.Uuid(as_uuid=False)
_TIME = sa.DateTime(timezone=True).with_variant(sa.String(24), "sqlite")


def upgrade() -> None:
    """Make the table, and the mark of runs that have some."""
    op.add_column("runs", sa.Column("steered", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table(
        "queued_messages",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("run_id", _ID, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("role", sa.String(10), nullable=False),
        sa.Column("type", sa.String(12), nullable=False),
        sa.Column("channel", sa.String(10), nullable=False),
        sa.Column("author", sa.Text),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("data", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("read_at", _TIME),
        sa.Column("next_run_id", _ID),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name="fk_queued_messages_run_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_queued_messages_run", "queued_messages", ["run_id", "number"], unique=True)


def downgrade() -> None:
    """Drop both."""
    op.drop_table("queued_messages")
    op.drop_column("runs", "steered")
