"""Each run says when its first delta came.

Revision ID: 0013
Revises: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True).with_variant(sa.String(24), "sqlite")


def upgrade() -> None:
    """Add the column. Runs that have ended stay without it: nobody knows."""
    if op.get_bind().dialect.name != "sqlite":
        op.execute("SET LOCAL lock_timeout = '3s'")
    op.add_column("runs", sa.Column("first_delta_at", _TIME))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("runs", "first_delta_at")
