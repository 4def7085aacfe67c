"""Which runs add documents to a source of the knowledge base.

Revision ID: 0034
Revises: 0033
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

_ID = sa.Uuid(as_uuid=False)
_TIME = sa.DateTime(timezone=True).with_variant(sa.String(24), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "knowledge_ingestions",
        sa.Column("run_id", _ID, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column(
            "source_id", _ID, sa.ForeignKey("knowledge_sources.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("created_at", _TIME, nullable=False),
    )
    op.create_index(
        "ix_knowledge_ingestions_source", "knowledge_ingestions", ["source_id", "created_at", "run_id"]
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("knowledge_ingestions")
