"""Duties: when each process has last done what it does in the background.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True).with_variant(sa.String(24), "sqlite")


def upgrade() -> None:
    """No process has reported yet."""
    op.create_table(
        "duties",
        sa.Column("process", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("ages", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
    )


def downgrade() -> None:
    """They report again when there is a place for it."""
    op.drop_table("duties")
