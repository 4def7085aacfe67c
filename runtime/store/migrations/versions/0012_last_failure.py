"""Each run that is tried again says why the attempt before failed.

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Runs that are there stay without it: nobody knows."""
    if op.get_bind().dialect.name != "sqlite":
        op.execute("SET LOCAL lock_timeout = '3s'")
    op.add_column("runs", sa.Column("last_failure", sa.JSON().with_variant(JSONB(), "postgresql")))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("runs", "last_failure")
