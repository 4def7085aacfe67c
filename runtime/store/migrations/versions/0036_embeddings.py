"""Vectors of passages, which say what these mean.

Revision ID: 0036
Revises: 0035
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

_ID = sa.Uuid(as_uuid=False)
_PASSAGE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add the columns, and make the table."""
    op.add_column("knowledge_sources", sa.Column("embedded_by", sa.Text))
    version = sa.Column("vectors_version", sa.Integer, nullable=False, server_default="0")
    op.add_column("knowledge_sources", version)
    op.create_table(
        "knowledge_embeddings",
        sa.Column(
            "passage_id",
            _PASSAGE,
            sa.ForeignKey("knowledge_passages.id", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("source_id", _ID, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("vector", sa.LargeBinary),
    )
    op.create_index(
        "ix_knowledge_embeddings_source", "knowledge_embeddings", ["source_id", "model", "version"]
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("knowledge_embeddings")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION IF EXISTS knowledge_halfvec")  # of `branchline index-vectors`
    op.drop_column("knowledge_sources", "vectors_version")
    op.drop_column("knowledge_sources", "embedded_by")
