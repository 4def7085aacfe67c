"""The processes of a PostgreSQL database that is measured."""

from __future__ import annotations

from pathlib import Path

import psycopg


def backends(connection: psycopg.Connection[tuple[int]]) -> list[int]:
    """The processes of all other connections to the same database, where they are on this machine."""
    query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    return [pid for (pid,) in connection.execute(query) if _is_postgres(pid)]


def _is_postgres(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("postgres")
    except OSError:
        return False
