"""Indexes for fairness between users, for their bounds, and for the purge of deleted threads.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them; the backlog's takes the place of the one it had."""
    op.drop_index("ix_runs_backlog", "runs")
    _partial(
        "ix_runs_backlog",
        "runs",
        ["pool", "user_id", sa.desc("priority"), "id"],
        "status = 'queued' AND published_at IS NULL",
    )
    _partial(
        "ix_runs_published",
        "runs",
        ["pool", "published_at"],
        "status = 'queued' AND published_at IS NOT NULL",
    )
    _partial("ix_runs_queued", "runs", ["user_id"], "status = 'queued'")
    _partial("ix_threads_deleted", "threads", ["deleted_at"], "deleted_at IS NOT NULL")


def downgrade() -> None:
    """Back to the one index of the backlog."""
    op.drop_index("ix_threads_deleted", "threads")
    for name in ("ix_runs_queued", "ix_runs_published", "ix_runs_backlog"):
        op.drop_index(name, "runs")
    _partial("ix_runs_backlog", "runs", ["pool", "published_at", "id"], "status = 'queued'")


def _partial(name: str, table: str, columns: list[str | sa.UnaryExpression[object]], where: str) -> None:
    op.create_index(name, table, columns, postgresql_where=sa.text(where), sqlite_where=sa.text(where))
