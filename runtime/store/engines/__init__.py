"""The two databases, and what each of them does in its own way.

:class:`Engine` is what both can do; :mod:`postgresql` and :mod:`sqlite` say how.
The idea, and the word, are Oban's (``Oban.Engine``).
"""

from __future__ import annotations

from runtime.settings import Database as Settings
from runtime.settings.database_address import Address, SQLiteFile
from runtime.store.engines.engine import Engine, Mode
from runtime.store.engines.postgresql import PostgreSQL
from runtime.store.engines.sqlite import SQLite

__all__ = ["Engine", "Mode", "PostgreSQL", "SQLite", "open_engine"]


def open_engine(address: Address, settings: Settings) -> Engine:
    """The engine of the database at the address. Connects to nothing yet."""
    if isinstance(address, SQLiteFile):
        return SQLite(address, settings)
    return PostgreSQL(address, settings)
