"""What the worker of a run has read of the messages that were sent to it, so that it reads the same again.

Revision ID: 0020
Revises: 0019
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the number of a read, and how many there were."""
    op.add_column("runs", sa.Column("inbox_reads", sa.Integer, nullable=False, server_default="0"))
    op.add_column("queued_messages", sa.Column("read_number", sa.Integer))


def downgrade() -> None:
    """Drop both."""
    op.drop_column("queued_messages", "read_number")
    op.drop_column("runs", "inbox_reads")
