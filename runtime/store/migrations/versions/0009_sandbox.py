"""Each run says what kept its last attempt in its place.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. Runs that are there stay without it: nobody knows."""
    if op.get_bind().dialect.name != "sqlite":
        op.execute("SET LOCAL lock_timeout = '3s'")
    op.add_column("runs", sa.Column("sandbox", sa.JSON().with_variant(JSONB(), "postgresql")))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("runs", "sandbox")
