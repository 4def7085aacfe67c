"""By what a document's origin is asked whether it has changed.

Revision ID: 0033
Revises: 0032
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    with op.batch_alter_table("knowledge_documents") as documents:
        documents.add_column(sa.Column("validator", sa.Text))


def downgrade() -> None:
    """Drop it."""
    with op.batch_alter_table("knowledge_documents") as documents:
        documents.drop_column("validator")
