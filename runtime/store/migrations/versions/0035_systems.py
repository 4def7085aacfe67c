"""Systems of agents: entities, the messages in their mailboxes, and what runs send.

Revision ID: 0035
Revises: 0034
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

_ID = sa.Uuid(as_uuid=False)
_TIME = sa.DateTime(timezone=True).with_variant(sa.String(24), "sqlite")
_JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    """Make the tables, and the column of runs."""
    if op.get_bind().dialect.name != "sqlite":
        op.execute("SET LOCAL lock_timeout = '3s'")
    op.add_column("runs", sa.Column("message", _JSON))
    op.create_table(
        "run_sends",
        sa.Column("run_id", _ID, sa.ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("sent", _JSON, nullable=False),
    )
    op.create_table(
        "systems",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("workspace_id", _ID, sa.ForeignKey("workspaces.id", ondelete="CASCADE"), nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("definition", _JSON, nullable=False),
        sa.Column("thread_id", _ID, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
    )
    op.create_index("ix_systems_list", "systems", ["workspace_id", "created_at", "id"])
    _create_entities()
    op.create_table(
        "system_correlations",
        sa.Column("id", _ID, primary_key=True),
        _of_system(),
        sa.Column("messages", sa.Integer, nullable=False),
    )
    op.create_index("ix_system_correlations_system_id", "system_correlations", ["system_id"])
    _create_messages()


def downgrade() -> None:
    """Drop them, and the threads of entities and of their sub-runs."""
    op.execute("DELETE FROM threads WHERE called_from IN (SELECT thread_id FROM system_entities)")
    op.execute("DELETE FROM threads WHERE called_from IN (SELECT thread_id FROM systems)")
    for table in ("system_messages", "system_correlations", "system_entities", "systems", "run_sends"):
        op.drop_table(table)
    op.drop_column("runs", "message")


def _of_system() -> sa.Column[str]:
    return sa.Column("system_id", _ID, sa.ForeignKey("systems.id", ondelete="CASCADE"), nullable=False)


def _create_entities() -> None:
    op.create_table(
        "system_entities",
        sa.Column("id", _ID, primary_key=True),
        _of_system(),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("worker_id", sa.Text, nullable=False),
        sa.Column("config", _JSON, nullable=False),
        sa.Column("components", _JSON, nullable=False),
        sa.Column("accepts", _JSON),
        sa.Column("mailbox_size", sa.Integer, nullable=False),
        sa.Column("when_full", sa.String(20), nullable=False),
        sa.Column("concurrency", sa.Integer, nullable=False),
        sa.Column("entry", sa.Boolean, nullable=False),
        sa.Column("thread_id", _ID, nullable=False),
        sa.Column("tip_state_id", _ID, nullable=False),
        sa.Column("last_number", sa.Integer, nullable=False),
    )
    op.create_index("ix_system_entities_name", "system_entities", ["system_id", "name"], unique=True)


def _create_messages() -> None:
    name = "system_messages"
    op.create_table(
        name,
        sa.Column("id", _ID, primary_key=True),
        _of_system(),
        sa.Column("entity_id", _ID),
        sa.Column("correlation_id", _ID, nullable=False),
        sa.Column("cause_id", _ID),
        sa.Column("sender_id", _ID),
        sa.Column("number", sa.Integer),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("body", _JSON, nullable=False),
        sa.Column("error", sa.Boolean, nullable=False),
        sa.Column("reply_to", _ID),
        sa.Column("race_id", _ID),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("hops", sa.Integer, nullable=False),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("reason", sa.String(40)),
        sa.Column("answer", _JSON),
        sa.Column("run_id", _ID),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("deadline", _TIME),
        sa.Column("started_at", _TIME),
        sa.Column("ended_at", _TIME),
    )
    op.create_index("ix_system_messages_list", name, ["system_id", "created_at", "id"])
    op.create_index("ix_system_messages_number", name, ["entity_id", "number"], unique=True)
    op.create_index("ix_system_messages_cause", name, ["cause_id"])
    under_way = "status IN ('held', 'waiting', 'working')"
    for index, columns, rows in (
        ("under_way", ["system_id"], under_way),
        ("correlation", ["correlation_id"], under_way),
        ("waiting", ["entity_id", "number"], "status = 'waiting'"),
        ("working", ["entity_id"], "status = 'working'"),
        ("held", ["sender_id", "id"], "status = 'held'"),
        ("held_to", ["entity_id", "id"], "status = 'held'"),
        ("dead", ["system_id", "created_at", "id"], "status = 'dead'"),
        ("race", ["race_id"], "race_id IS NOT NULL"),
    ):
        where = sa.text(rows)
        op.create_index(
            f"ix_system_messages_{index}", name, columns, postgresql_where=where, sqlite_where=where
        )
