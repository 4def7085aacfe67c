"""Pool processes report their clock, the messages they dropped, and a queue that they are refused.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A process of the version before reports none of it."""
    op.add_column("pools", sa.Column("clock_skew", sa.Float))
    op.add_column("pools", sa.Column("dropped_messages", sa.Integer, nullable=False, server_default="0"))
    op.add_column("pools", sa.Column("queue_refusal", sa.Text))


def downgrade() -> None:
    """Forget it."""
    for name in ("queue_refusal", "dropped_messages", "clock_skew"):
        op.drop_column("pools", name)
