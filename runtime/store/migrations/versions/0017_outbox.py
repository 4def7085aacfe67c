"""What is to happen after a transaction is kept with it.

Revision ID: 0017
Revises: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True).with_variant(sa.String(24), "sqlite")


def upgrade() -> None:
    """Make the table, empty."""
    op.create_table(
        "outbox",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("payload", sa.JSON().with_variant(JSONB(), "postgresql")),
        sa.Column("due_at", _TIME, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("dead_at", _TIME),
        sa.Column("created_at", _TIME, nullable=False),
    )
    condition = sa.text("dead_at IS NULL")
    op.create_index("ix_outbox_due", "outbox", ["due_at"], postgresql_where=condition, sqlite_where=condition)


def downgrade() -> None:
    """Drop it."""
    op.drop_table("outbox")
