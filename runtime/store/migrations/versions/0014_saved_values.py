"""What a run has saved, so that its later attempts need not do it again.

Revision ID: 0014
Revises: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "saved_values",
        sa.Column("run_id", sa.Uuid(as_uuid=False), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text()),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_saved_values_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "key", name="pk_saved_values"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("saved_values")
