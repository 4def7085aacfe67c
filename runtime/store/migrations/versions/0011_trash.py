"""The deleted threads of a workspace are listed: an index for that.

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_IN_TRASH = sa.text("deleted_at IS NOT NULL AND titles IS NULL")


def upgrade() -> None:
    """Make the index."""
    op.create_index(
        "ix_threads_trash",
        "threads",
        ["workspace_id", "deleted_at", "id"],
        postgresql_where=_IN_TRASH,
        sqlite_where=_IN_TRASH,
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_threads_trash", "threads")
