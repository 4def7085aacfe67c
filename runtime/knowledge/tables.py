"""The tables of the knowledge base.

What is searched of a passage is its ``words``: a vector of them on PostgreSQL, and on SQLite the text
that the virtual table ``knowledge_words`` has indexed, by triggers that the migration makes.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSVECTOR

from runtime.store.tables import Id, Json, Time, metadata

sources = sa.Table(
    "knowledge_sources",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column(
        "workspace_id",
        Id,
        sa.ForeignKey("workspaces.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("user_id", Id, nullable=False),  # who has made it
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("language", sa.String(20), nullable=False),
    sa.Column("project_id", sa.Text),  # a label of the client's own
    sa.Column("created_at", Time, nullable=False),
    sa.Column("embedded_by", sa.Text),  # the model by which tasks to embed all its passages were made
    # Changes when it gets vectors, or loses passages.
    sa.Column("vectors_version", sa.Integer, nullable=False, server_default="0"),
    sa.Index("ix_knowledge_sources_name", "workspace_id", "name", unique=True),
)

documents = sa.Table(
    "knowledge_documents",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column(
        "source_id",
        Id,
        sa.ForeignKey("knowledge_sources.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("title", sa.Text),
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("validator", sa.Text),  # by which its origin is asked whether it has changed
    sa.Column("passages", sa.Integer, nullable=False),
    sa.Column("created_at", Time, nullable=False),
    sa.Column("updated_at", Time, nullable=False),
    sa.Index("ix_knowledge_documents_name", "source_id", "name", unique=True),
)

ingestions = sa.Table(
    "knowledge_ingestions",
    metadata,
    sa.Column("run_id", Id, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column(
        "source_id",
        Id,
        sa.ForeignKey("knowledge_sources.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("created_at", Time, nullable=False),
    sa.Index("ix_knowledge_ingestions_source", "source_id", "created_at", "run_id"),
)
"""The runs that add documents to a source."""

passages = sa.Table(
    "knowledge_passages",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("workspace_id", Id, nullable=False),
    sa.Column("source_id", Id, nullable=False),
    sa.Column(
        "document_id",
        Id,
        sa.ForeignKey("knowledge_documents.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("titles", Json, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("words", sa.Text().with_variant(TSVECTOR(), "postgresql"), nullable=False),
    sa.Index("ix_knowledge_passages_document", "document_id", "position", unique=True),
    # A change of the index is made at once: a search would have to read all those that are still to be made.
    sa.Index(
        "ix_knowledge_passages_words", "words", postgresql_using="gin", postgresql_with={"fastupdate": "off"}
    ).ddl_if(dialect="postgresql"),
)
embeddings = sa.Table(
    "knowledge_embeddings",
    metadata,
    sa.Column(
        "passage_id",
        passages.c.id.type,
        sa.ForeignKey("knowledge_passages.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("source_id", Id, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),  # that its source then had
    sa.Column("vector", sa.LargeBinary),  # see runtime.knowledge.vectors; NULL: the model refuses the text
    sa.Index("ix_knowledge_embeddings_source", "source_id", "model", "version"),
)
SPREAD = sa.func.hashint8(passages.c.id)
"""The place of a passage in an order of no meaning, on PostgreSQL: the first ones are a sample."""
for _name, _column in (("workspace", passages.c.workspace_id), ("source", passages.c.source_id)):
    sa.Index(f"ix_knowledge_passages_{_name}", _column, SPREAD).ddl_if(dialect="postgresql")
