"""The database. All SQL of Branchline is written in here.

Every module but :mod:`database` is a set of functions of a connection, named
after what they do to the module's noun: ``database.write(threads.create, …)``.
"""

from __future__ import annotations

from runtime.store import quick  # noqa: F401  registers itself
from runtime.store.database import Connection, Database
from runtime.store.page import Page

__all__ = ["Connection", "Database", "Page"]
