"""Files: what users and runs add to conversations.

Revision ID: 0021
Revises: 0020
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_ID = sa.Uuid(as_uuid=False)
_TIME = sa.DateTime(timezone=True).with_variant(sa.String(24), "sqlite")
_JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    """Make the tables, and the columns by which messages name files."""
    op.create_table(
        "files",
        sa.Column("id", _ID, nullable=False),
        sa.Column("workspace_id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("run_id", _ID),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("ready_at", _TIME),
        sa.Column("deleted_at", _TIME),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name="fk_files_workspace_id"),
    )
    op.create_index("ix_files_content", "files", ["workspace_id", "hash"])
    op.create_index("ix_files_user", "files", ["user_id"])
    op.create_index("ix_files_created", "files", ["created_at"])
    deleted = sa.text("deleted_at IS NOT NULL")
    op.create_index(
        "ix_files_deleted",
        "files",
        ["deleted_at"],
        postgresql_where=deleted,
        sqlite_where=deleted,
    )
    op.create_table(
        "file_uses",
        sa.Column("file_id", _ID, nullable=False),
        sa.Column("thread_id", _ID, nullable=False),
        sa.PrimaryKeyConstraint("file_id", "thread_id", name="pk_file_uses"),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name="fk_file_uses_file_id"),
        sa.ForeignKeyConstraint(
            ["thread_id"],
            ["threads.id"],
            name="fk_file_uses_thread_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_file_uses_thread_id", "file_uses", ["thread_id"])
    op.add_column("messages", sa.Column("files", _JSON))
    op.add_column("queued_messages", sa.Column("files", _JSON))


def downgrade() -> None:
    """Drop them; the contents stay where they are kept."""
    op.drop_column("queued_messages", "files")
    op.drop_column("messages", "files")
    op.drop_table("file_uses")
    op.drop_table("files")
