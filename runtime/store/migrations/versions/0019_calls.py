"""Sub-runs: runs that another run has called, each on a thread that is in no list.

Revision ID: 0019
Revises: 0018
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_HIDDEN = sa.text("called_from IS NOT NULL")
_CALLS = sa.text("call_id IS NOT NULL")


def upgrade() -> None:
    """Make the columns; there are no sub-runs yet, so both indexes are empty."""
    op.add_column("threads", sa.Column("called_from", sa.Uuid(as_uuid=False)))
    op.create_index(
        "ix_threads_called_from", "threads", ["called_from"], postgresql_where=_HIDDEN, sqlite_where=_HIDDEN
    )
    op.add_column("runs", sa.Column("call_id", sa.Text))
    op.add_column("runs", sa.Column("call_digest", sa.Text))
    op.add_column("runs", sa.Column("root_run_id", sa.Uuid(as_uuid=False)))
    op.add_column("runs", sa.Column("call_depth", sa.Integer, nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("calls", sa.Integer, nullable=False, server_default="0"))
    op.create_index(
        "ix_runs_calls",
        "runs",
        ["parent_run_id", "call_id"],
        unique=True,
        postgresql_where=_CALLS,
        sqlite_where=_CALLS,
    )


def downgrade() -> None:
    """Drop them, and the threads of sub-runs, which an earlier version would list."""
    op.execute("DELETE FROM threads WHERE called_from IS NOT NULL")
    op.drop_index("ix_runs_calls", "runs")
    for column in ("calls", "call_depth", "root_run_id", "call_digest", "call_id"):
        op.drop_column("runs", column)
    op.drop_index("ix_threads_called_from", "threads")
    op.drop_column("threads", "called_from")
