"""What the metrics say of all runs is kept for all web processes, with what erased runs add to it.

Revision ID: 0016
Revises: 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True).with_variant(sa.String(24), "sqlite")


def upgrade() -> None:
    """Make the table, empty."""
    op.create_table(
        "figures",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("claimant", sa.Text),
        sa.Column("good_until", _TIME),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("figures")
