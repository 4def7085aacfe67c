"""Lists and the backlog are sorted by the database's times, and no longer by ids.

An id is made from the clock of the process that makes it, and those of two machines differ.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BY_ID = (
    ("ix_states_tree", "states", ["thread_id", "id"]),
    ("ix_runs_thread", "runs", ["thread_id", "id"]),
    ("ix_runs_list", "runs", ["workspace_id", "id"]),
)
_BY_TIME = (
    ("ix_states_thread", "states", ["thread_id", "created_at", "id"]),
    ("ix_runs_of_thread", "runs", ["thread_id", "created_at", "id"]),
    ("ix_runs_of_workspace", "runs", ["workspace_id", "created_at", "id"]),
)
_BACKLOG = sa.text("status = 'queued' AND published_at IS NULL")

_Indexes = tuple[tuple[str, str, list[str]], ...]


def upgrade() -> None:
    """Make the indexes by time."""
    _replace(_BY_ID, _BY_TIME, "created_at", "id")


def downgrade() -> None:
    """Back to the indexes by id."""
    _replace(_BY_TIME, _BY_ID, "id")


def _replace(old: _Indexes, new: _Indexes, *order: str) -> None:
    """Make first and drop after: only writers wait while an index is made, everybody once one is dropped."""
    for name, table, columns in new:
        op.create_index(name, table, columns)
    for name, table, _ in old:
        op.drop_index(name, table)
    op.drop_index("ix_runs_backlog", "runs")
    op.create_index(
        "ix_runs_backlog",
        "runs",
        ["pool", "user_id", sa.desc("priority"), *order],
        postgresql_where=_BACKLOG,
        sqlite_where=_BACKLOG,
    )
