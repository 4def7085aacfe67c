"""The database. All SQL of Branchline is written in here.

Every module with a noun's name is a set of functions of a connection, named after
what they do to it: ``database.write(threads.create, …)``. :mod:`engines` says what
PostgreSQL and SQLite do differently.
"""

from __future__ import annotations

from sqlalchemy import Connection

from runtime.store.database import Database
from runtime.store.page import Page

__all__ = ["Connection", "Database", "Page"]
