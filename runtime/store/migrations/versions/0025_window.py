"""What of a conversation a run was not given.

Revision ID: 0025
Revises: 0024
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Runs that are there stay without it: they had no window."""
    if op.get_bind().dialect.name != "sqlite":
        op.execute("SET LOCAL lock_timeout = '3s'")
    op.add_column("runs", sa.Column("window", sa.JSON().with_variant(JSONB(), "postgresql"), quote=True))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("runs", "window")
