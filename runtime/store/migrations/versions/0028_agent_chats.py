"""Agent chats, and the messages to them that clients have named.

Revision ID: 0028
Revises: 0027
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_ID = sa.Uuid(as_uuid=False)
_TIME = sa.DateTime(timezone=True).with_variant(sa.String(24), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "agent_chats",
        sa.Column(
            "session_id", _ID, sa.ForeignKey("thread_sessions.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("thread_id", _ID, nullable=False),
        sa.Column("workspace_id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("agent_type", sa.String(10), nullable=False),
        sa.Column("project_id", sa.Text),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("used_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME),
    )
    is_live = sa.text("ended_at IS NULL")
    op.create_index("ix_agent_chats_workspace_id", "agent_chats", ["workspace_id", "used_at", "session_id"])
    op.create_index(
        "ix_agent_chats_live", "agent_chats", ["used_at"], postgresql_where=is_live, sqlite_where=is_live
    )
    op.create_table(
        "agent_chat_messages",
        sa.Column(
            "session_id",
            _ID,
            sa.ForeignKey("agent_chats.session_id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("client_id", _ID, primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("run_id", _ID, nullable=False),
    )


def downgrade() -> None:
    """Drop the tables; the threads and their sessions stay."""
    op.drop_table("agent_chat_messages")
    op.drop_table("agent_chats")
