"""The knowledge base: sources, documents, passages, and the full text index of these.

Revision ID: 0029
Revises: 0028
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_ID = sa.Uuid(as_uuid=False)
_TIME = sa.DateTime(timezone=True).with_variant(sa.String(24), "sqlite")
_JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "knowledge_sources",
        sa.Column("id", _ID, primary_key=True),
        sa.Column(
            "workspace_id",
            _ID,
            sa.ForeignKey("workspaces.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("language", sa.String(20), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
    )
    op.create_index(
        "ix_knowledge_sources_name",
        "knowledge_sources",
        ["workspace_id", "name"],
        unique=True,
    )
    op.create_table(
        "knowledge_documents",
        sa.Column("id", _ID, primary_key=True),
        sa.Column(
            "source_id",
            _ID,
            sa.ForeignKey("knowledge_sources.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("title", sa.Text),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("passages", sa.Integer, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
    )
    op.create_index(
        "ix_knowledge_documents_name",
        "knowledge_documents",
        ["source_id", "name"],
        unique=True,
    )
    op.create_table(
        "knowledge_passages",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("workspace_id", _ID, nullable=False),
        sa.Column("source_id", _ID, nullable=False),
        sa.Column(
            "document_id",
            _ID,
            sa.ForeignKey("knowledge_documents.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("titles", _JSON, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("words", sa.Text().with_variant(TSVECTOR(), "postgresql"), nullable=False),
    )
    op.create_index(
        "ix_knowledge_passages_document",
        "knowledge_passages",
        ["document_id", "position"],
        unique=True,
    )
    if op.get_bind().dialect.name == "postgresql":
        op.create_index(
            "ix_knowledge_passages_words",
            "knowledge_passages",
            ["words"],
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
        )
        for name in ("workspace", "source"):
            op.create_index(
                f"ix_knowledge_passages_{name}",
                "knowledge_passages",
                [f"{name}_id", sa.text("hashint8(id)")],
            )
        # The vectors are read of every passage that is ranked, so they stay in their rows, and as they are.
        op.execute("ALTER TABLE knowledge_passages ALTER COLUMN words SET STORAGE MAIN")
    else:
        _index_words()


def downgrade() -> None:
    """Drop them."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE knowledge_words")
    for name in ("knowledge_passages", "knowledge_documents", "knowledge_sources"):
        op.drop_table(name)


def _index_words() -> None:
    """The index of SQLite, which has the words of passages, and triggers that keep it so.

    The workspace and the source are words of their own, so that the index itself leaves out those of others.
    """
    op.execute(
        "CREATE VIRTUAL TABLE knowledge_words USING fts5(workspace_id, source_id, words, "
        "content='knowledge_passages', content_rowid='id', tokenize='porter unicode61 remove_diacritics 0')"
    )
    op.execute(
        "CREATE TRIGGER knowledge_passages_added AFTER INSERT ON knowledge_passages BEGIN "
        "INSERT INTO knowledge_words (rowid, workspace_id, source_id, words) "
        "VALUES (new.id, new.workspace_id, new.source_id, new.words); END"
    )
    op.execute(
        "CREATE TRIGGER knowledge_passages_removed AFTER DELETE ON knowledge_passages BEGIN "
        "INSERT INTO knowledge_words (knowledge_words, rowid, workspace_id, source_id, words) "
        "VALUES ('delete', old.id, old.workspace_id, old.source_id, old.words); END"
    )
