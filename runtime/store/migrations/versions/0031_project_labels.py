"""Which project a source of the knowledge base is of, by a label of its owner's.

Revision ID: 0031
Revises: 0030
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    with op.batch_alter_table("knowledge_sources") as sources:
        sources.add_column(sa.Column("project_id", sa.Text))


def downgrade() -> None:
    """Drop it."""
    with op.batch_alter_table("knowledge_sources") as sources:
        sources.drop_column("project_id")
