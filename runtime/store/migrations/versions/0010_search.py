"""Texts are stored as they are searched, without accents and case, where the database cannot make that.

What is there is folded later, by the reaper: here only columns are added, which is done at once
however many messages there are.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_UNFOLDED = sa.text("folded = ''")


def upgrade() -> None:
    """Add the columns, and the index by which threads are found that are not folded."""
    if op.get_bind().dialect.name != "sqlite":
        op.execute("SET LOCAL lock_timeout = '3s'")
    op.add_column("messages", sa.Column("folded", sa.Text))
    op.add_column("threads", sa.Column("folded", sa.Text, server_default=""))
    op.create_index(
        "ix_threads_unfolded",
        "threads",
        ["updated_at"],
        postgresql_where=_UNFOLDED,
        sqlite_where=_UNFOLDED,
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_threads_unfolded", "threads")
    op.drop_column("threads", "folded")
    op.drop_column("messages", "folded")
