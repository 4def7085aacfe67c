"""The two databases, and what each of them does in its own way.

:class:`Engine` is what both can do; :mod:`postgresql` and :mod:`sqlite` say how.
The idea, and the word, are Oban's (``Oban.Engine``).
"""

from __future__ import annotations

import sqlalchemy as sa

from runtime.settings import Database as Settings
from runtime.store.engines.engine import Engine, Mode
from runtime.store.engines.postgresql import PostgreSQL
from runtime.store.engines.sqlite import SQLite

__all__ = ["Engine", "Mode", "PostgreSQL", "SQLite", "open_engine"]


def open_engine(url: sa.URL, settings: Settings) -> Engine:
    """The engine of the database that the URL names. Connects to nothing yet."""
    if url.get_backend_name() == "sqlite":
        return SQLite(url, settings)
    return PostgreSQL(url, settings)
