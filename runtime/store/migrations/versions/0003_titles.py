"""Titles by a worker: which threads want one, and the threads in which one is made.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_HELPERS = "titles IS NOT NULL AND deleted_at IS NULL"


def upgrade() -> None:
    """No thread that is there already wants another title."""
    op.add_column("threads", sa.Column("title_wanted", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("threads", sa.Column("titles", sa.Uuid(as_uuid=False)))
    _partial("ix_threads_title_wanted", ["updated_at"], "title_wanted")
    _partial("ix_threads_titles", ["titles"], _HELPERS)


def downgrade() -> None:
    """Take them away, and the threads that would be listed then."""
    op.execute("DELETE FROM threads WHERE titles IS NOT NULL")
    op.drop_index("ix_threads_titles", "threads")
    op.drop_index("ix_threads_title_wanted", "threads")
    op.drop_column("threads", "titles")
    op.drop_column("threads", "title_wanted")


def _partial(name: str, columns: list[str], where: str) -> None:
    op.create_index(name, "threads", columns, postgresql_where=sa.text(where), sqlite_where=sa.text(where))
