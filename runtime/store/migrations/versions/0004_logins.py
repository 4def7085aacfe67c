"""Sign-ins are rows of ``logins``; a view keeps the old name ``sessions`` for one release.

While a deployment is upgraded, web processes of the version before go on reading and
writing ``sessions``. The release after this one drops the view.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

from collections.abc import Iterable

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_VIEW = "CREATE VIEW sessions AS SELECT id, user_id, created_at, expires_at, ended_at FROM logins"
_ON_INSERT = """
CREATE TRIGGER sessions_insert INSTEAD OF INSERT ON sessions BEGIN
    INSERT INTO logins (id, user_id, created_at, expires_at, ended_at)
    VALUES (NEW.id, NEW.user_id, NEW.created_at, NEW.expires_at, NEW.ended_at);
END
"""
_ON_UPDATE = """
CREATE TRIGGER sessions_update INSTEAD OF UPDATE ON sessions BEGIN
    UPDATE logins
    SET user_id = NEW.user_id, created_at = NEW.created_at,
        expires_at = NEW.expires_at, ended_at = NEW.ended_at
    WHERE id = OLD.id;
END
"""
"""It names every column: SQLite returns NULL, in UPDATE … RETURNING, for one that no trigger mentions."""
_CONSTRAINTS = (("pk_sessions", "pk_logins"), ("fk_sessions_user_id", "fk_logins_user_id"))


def upgrade() -> None:
    """Rename the table, and put the view in its place."""
    _limit_lock_wait()
    _rename("sessions", "logins", _CONSTRAINTS)
    op.execute(_VIEW)
    if _on_sqlite():  # PostgreSQL writes through a view as simple as this one by itself
        op.execute(_ON_INSERT)
        op.execute(_ON_UPDATE)


def downgrade() -> None:
    """Drop the view, on SQLite with its triggers, and give the table its name back."""
    _limit_lock_wait()
    op.execute("DROP VIEW sessions")
    _rename("logins", "sessions", [(new, old) for old, new in _CONSTRAINTS])


def _rename(table: str, name: str, constraints: Iterable[tuple[str, str]]) -> None:
    op.rename_table(table, name)
    if _on_sqlite():  # whose indexes and constraints cannot be renamed
        op.drop_index(f"ix_{table}_user_id", name)
        op.create_index(f"ix_{name}_user_id", name, ["user_id"])
        return
    op.execute(f"ALTER INDEX ix_{table}_user_id RENAME TO ix_{name}_user_id")
    for before, after in constraints:
        op.execute(f"ALTER TABLE {name} RENAME CONSTRAINT {before} TO {after}")


def _limit_lock_wait() -> None:
    """Give up where somebody reads the table for long, such as a backup: until then every request waits."""
    if not _on_sqlite():
        op.execute("SET LOCAL lock_timeout = '3s'")


def _on_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"
