"""What pools have registered of the versions of their workers, so that web needs no folder.

Revision ID: 0022
Revises: 0021
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True).with_variant(sa.String(24), "sqlite")


def upgrade() -> None:
    """Make the table; pools fill it when they start."""
    op.create_table(
        "worker_versions",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("worker_id", sa.Text, nullable=False),
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("registered_at", _TIME, nullable=False),
        sa.Column("seen_at", _TIME, nullable=False),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("worker_versions")
