"""SQLite: every step is a transaction, in a thread of its own under gevent.

A statement would stop every greenlet of the process, so there the whole function
runs in a thread of the hub's pool. Such threads must not meet a patched lock, hence
no connection pool: each thread keeps one raw connection to itself.
"""

from __future__ import annotations

import contextvars
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import orjson
import sqlalchemy as sa
from sqlalchemy import Connection, exc
from sqlalchemy.pool import NullPool

from runtime.errors import SearchTooLong
from runtime.settings import Database as Settings
from runtime.settings.database_address import SQLiteFile
from runtime.store.engines.engine import Engine, Mode, dumps
from runtime.store.folding import fold
from runtime.system import greenlets
from runtime.system.private_files import private_database

P = ParamSpec("P")
T = TypeVar("T")

_BEGIN = {
    Mode.READ: "BEGIN",
    Mode.SNAPSHOT: "BEGIN",
    Mode.WRITE: "BEGIN IMMEDIATE",
    Mode.STATEMENT: "BEGIN IMMEDIATE",
}
_THREADS = 8

_CHECKED_AFTER = 100
"""Steps of SQLite's machine after which it is asked whether the time is over. To look into one message
takes about twenty, however long it is."""


class SQLite(Engine):
    """A database in one file."""

    def __init__(self, address: SQLiteFile, settings: Settings) -> None:
        super().__init__(
            sa.create_engine(
                "sqlite://",
                creator=_connector(address.path, settings.busy_timeout),
                poolclass=NullPool,
                hide_parameters=True,
                json_serializer=_dumps,
                json_deserializer=_loads,
            )
        )
        self._threads = greenlets.ThreadPool(_THREADS)

    def begin(self, mode: Mode) -> str:
        """Of any kind; a write takes the lock at once."""
        return _BEGIN[mode]

    def _run(
        self,
        mode: Mode,
        function: Callable[Concatenate[Connection, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        if not greenlets.patched():
            return self._run_here(mode, function, *args, **kwargs)
        # Functions may look at their caller's context (Flask's, say) there, too.
        context = contextvars.copy_context()

        def run() -> T:
            return self._run_here(mode, function, *args, **kwargs)

        return self._threads.call(context.run, run)

    @contextmanager
    def _bounded(self, connection: Connection, seconds: float) -> Iterator[None]:
        raw = cast(sqlite3.Connection, connection.connection.driver_connection)
        until = time.monotonic() + seconds
        raw.set_progress_handler(lambda: time.monotonic() > until, _CHECKED_AFTER)
        try:
            yield
        except exc.OperationalError as error:
            if time.monotonic() > until:
                raise SearchTooLong(seconds) from error
            raise
        finally:
            raw.set_progress_handler(None, 0)


class _ThreadConnection(sqlite3.Connection):
    """A connection that its thread keeps: closing only ends its transaction."""

    def close(self) -> None:
        self.rollback()


def _connector(path: Path, busy_timeout: float) -> Callable[[], sqlite3.Connection]:
    """What gives each thread its connection."""
    local = greenlets.original("threading", "local")()

    def connect() -> sqlite3.Connection:
        if not hasattr(local, "connection"):
            local.connection = _connect(path, busy_timeout)
        return local.connection  # type: ignore[no-any-return]

    return connect


def _connect(path: Path, busy_timeout: float) -> sqlite3.Connection:
    private_database(path)
    connection = sqlite3.connect(
        path,
        timeout=busy_timeout,
        isolation_level=None,
        factory=_ThreadConnection,
        check_same_thread=False,
        cached_statements=512,
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # SQLite's own lower() knows ASCII only.
    connection.create_function("fold", 1, _fold, deterministic=True)
    return connection


def _fold(text: str | None) -> str | None:
    return None if text is None else fold(text)


def _dumps(value: Any) -> str | bytes:
    """A column of type JSON is numeric for SQLite: a text that reads like a number would be stored as
    a number of SQLite's choice (1 for 1.0). Bytes are stored as they are."""
    text = dumps(value)
    return text.encode() if isinstance(value, int | float) else text


def _loads(value: Any) -> Any:
    """A number that an earlier version stored as text comes back as a number already."""
    return value if isinstance(value, int | float) else orjson.loads(value)
