"""Data of states, which a worker keeps from turn to turn.

Revision ID: 0015
Revises: 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the columns."""
    op.add_column("states", sa.Column("data", sa.JSON().with_variant(JSONB(), "postgresql")))
    op.add_column("states", sa.Column("data_of", sa.Uuid(as_uuid=False)))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("states", "data_of")
    op.drop_column("states", "data")
