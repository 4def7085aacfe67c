"""Which agent chat another one was begun to continue.

Revision ID: 0032
Revises: 0031
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    with op.batch_alter_table("agent_chats") as chats:
        chats.add_column(sa.Column("continues", sa.Uuid(as_uuid=False)))
    op.create_index("ix_agent_chats_continues", "agent_chats", ["continues"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_agent_chats_continues", "agent_chats")
    with op.batch_alter_table("agent_chats") as chats:
        chats.drop_column("continues")
