"""The database: transactions, the same for every caller on PostgreSQL and SQLite.

A transaction is a function of a connection, run by :meth:`Database.read`,
:meth:`Database.snapshot` or :meth:`Database.write`. All of ``store`` is made of such
functions, so several can share one transaction.

The steps of a run that are asked for most are methods of :attr:`Database.engine`
instead: ``database.engine.accept(…)``. Each is a whole transaction, done as its
database does it best.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from runtime import settings as settings_module
from runtime.settings import database_address
from runtime.store import outbox
from runtime.store.engines import Mode, open_engine

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """One database, and the engine that its kind asks for."""

    def __init__(self, url: str, settings: settings_module.Database) -> None:
        """``url``: as DATABASE_URL. Raises ConfigurationError. Connects to nothing yet."""
        self.address = database_address.parse(url)
        self.engine = open_engine(self.address, settings)
        self._search_timeout = settings.search_timeout

    def read(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``function(connection, …)``, which changes nothing.

        On PostgreSQL each of its statements may see what was committed since the one
        before. Raises StoreUnavailable where the database is busy or away.
        """
        return self.engine.transaction(Mode.READ, function, *args, **kwargs)

    def snapshot(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same, but all that it reads is of one moment."""
        return self.engine.transaction(Mode.SNAPSHOT, function, *args, **kwargs)

    def search(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same as ``snapshot``, for what may take very long. Raises SearchTooLong."""
        return self.engine.search(self._search_timeout, function, *args, **kwargs)

    def write(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``function(connection, …)`` in a transaction and commit it.

        What the function raises rolls everything back. Raises StoreUnavailable
        where the database is busy or away; then it may have been committed only
        if the connection broke during COMMIT itself.
        """
        return self.engine.transaction(Mode.WRITE, function, *args, **kwargs)

    def change(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same as ``write``, for a function that executes one statement, which is then a transaction."""
        return self.engine.transaction(Mode.STATEMENT, function, *args, **kwargs)

    def carry_out(self, task: Callable[[outbox.Own], object]) -> None:
        """Call ``task`` with what a transaction of this process has put into the outbox, once it is
        committed. It must not wait; nobody else takes the task for :data:`outbox.HEAD_START` seconds."""
        self.engine.carries_out = task

    def close(self) -> None:
        """Close all idle connections."""
        self.engine.close()
