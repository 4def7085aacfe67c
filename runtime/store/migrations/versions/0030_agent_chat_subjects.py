"""Whose agent chats they are among an embedder's own users, and whose tokens were revoked.

Revision ID: 0030
Revises: 0029
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the table."""
    with op.batch_alter_table("agent_chats") as chats:
        chats.add_column(sa.Column("subject", sa.Text))
    by_use = ["workspace_id", "subject", "used_at", "session_id"]
    op.create_index("ix_agent_chats_subject", "agent_chats", by_use)
    op.create_index("ix_agent_chats_thread_id", "agent_chats", ["thread_id"])
    op.create_table(
        "agent_chat_subjects",
        sa.Column("workspace_id", sa.Uuid(as_uuid=False), sa.ForeignKey("workspaces.id"), primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("token_generation", sa.Integer, nullable=False),
    )


def downgrade() -> None:
    """Drop both."""
    op.drop_table("agent_chat_subjects")
    op.drop_index("ix_agent_chats_thread_id", "agent_chats")
    op.drop_index("ix_agent_chats_subject", "agent_chats")
    with op.batch_alter_table("agent_chats") as chats:
        chats.drop_column("subject")
