"""The database: transactions on PostgreSQL and SQLite, the same for every caller.

A transaction is a function of a connection, run by :meth:`Database.read` or
:meth:`Database.write`. All of ``store`` is made of such functions, so several
can share one transaction.

Under gevent a PostgreSQL connection waits cooperatively, but SQLite would stop
every greenlet of the process; there the whole function runs in a thread of the
hub's pool. Such threads must not meet a patched lock, hence no connection pool
on SQLite: each thread keeps one raw connection to itself.
"""

from __future__ import annotations

import contextvars
import sqlite3
import sys
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import orjson
import psycopg
import sqlalchemy as sa
from psycopg.types.json import set_json_loads
from sqlalchemy import event, exc
from sqlalchemy.pool import NullPool

from runtime import settings as settings_module
from runtime.errors import StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")
Connection = sa.Connection

_SQLITE_THREADS = 8
_CONNECT_TIMEOUT = 5
"""Seconds."""
_READ = "BEGIN"
_WRITE = "BEGIN IMMEDIATE"


class Database:
    """One database, reached by as many connections as the settings allow."""

    def __init__(self, url: str, settings: settings_module.Database) -> None:
        """``url`` is a SQLAlchemy URL; ``postgres://`` and ``postgresql://`` mean psycopg 3."""
        self.url = with_driver(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _sqlite(self.url, settings) if self.sqlite else _postgresql(self.url, settings)
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._threads: Any = None

    def read(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``function(connection, …)`` in a transaction that changes nothing.

        Raises StoreUnavailable where the database is busy or away.
        """
        return cast(T, self._run(_READ, function, args, kwargs))

    def write(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``function(connection, …)`` in a transaction and commit it.

        What the function raises rolls everything back. Raises StoreUnavailable
        where the database is busy or away; then it may have been committed only
        if the connection broke during COMMIT itself.
        """
        return cast(T, self._run(_WRITE, function, args, kwargs))

    def close(self) -> None:
        """Close all idle connections."""
        self.engine.dispose()

    def _run(self, begin: str, function: Any, args: Any, kwargs: Any) -> Any:
        if self.sqlite and _gevent_patched():
            # Functions may look at their caller's context (Flask's, say) there, too.
            context = contextvars.copy_context()
            result, error = self._thread_pool().apply(
                context.run, (self._outcome, begin, function, args, kwargs)
            )
            if error is not None:
                raise error
            return result
        return self._transaction(begin, function, args, kwargs)

    def _outcome(self, begin: str, function: Any, args: Any, kwargs: Any) -> tuple[Any, Exception | None]:
        """The result or the error. gevent prints whatever a thread raises, a user's mistakes too."""
        try:
            return self._transaction(begin, function, args, kwargs), None
        except Exception as error:
            return None, error

    def _transaction(self, begin: str, function: Any, args: Any, kwargs: Any) -> Any:
        for last in (False, True):
            try:
                if begin == _READ and not self.sqlite:
                    # Nothing to commit, and READ COMMITTED shows each statement its own
                    # snapshot anyway: this spares BEGIN and ROLLBACK their round trips.
                    with self._autocommit.connect() as connection:
                        return function(connection, *args, **kwargs)
                with self.engine.connect() as connection:
                    connection.info["begin"] = begin
                    with connection.begin():
                        return function(connection, *args, **kwargs)
            except exc.DBAPIError as error:
                # A pooled connection that broke while idle: its pool is empty now, try afresh.
                stale = error.connection_invalidated and not last
                if not stale:
                    raise _translate(error) from error
            except exc.TimeoutError as error:
                raise StoreUnavailable from error
        raise AssertionError("unreachable")

    def _thread_pool(self) -> Any:
        if self._threads is None:
            from gevent.threadpool import ThreadPool

            self._threads = ThreadPool(_SQLITE_THREADS)
        return self._threads


def _translate(error: exc.DBAPIError) -> Exception:
    if isinstance(error, exc.OperationalError | exc.InterfaceError | exc.InternalError):
        return StoreUnavailable()
    return error


def with_driver(url: str) -> sa.URL:
    """The SQLAlchemy URL; ``postgres://`` and ``postgresql://`` mean psycopg 3."""
    if url.startswith("postgres://"):
        url = "postgresql" + url[len("postgres") :]
    parsed = sa.make_url(url)
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed


def _gevent_patched() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and monkey.is_module_patched("socket")


def _dumps(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def _loads(value: Any) -> Any:
    """A column of type JSON is numeric for SQLite: what reads like a number comes back as one."""
    return value if isinstance(value, int | float) else orjson.loads(value)


def _postgresql(url: sa.URL, settings: settings_module.Database) -> sa.Engine:
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    options = f"-c statement_timeout={int(settings.statement_timeout * 1000)} -c timezone=UTC"

    def connect() -> Any:
        kind: Any = psycopg.Connection
        if _gevent_patched():
            from runtime.store import cooperative

            kind = cooperative.Connection
        connection = kind.connect(dsn, connect_timeout=_CONNECT_TIMEOUT, options=options)
        # SQLAlchemy sets this only for connections that it opens itself. The standard library
        # reads whole numbers of any size, which no answer can hold; here they become floats.
        set_json_loads(orjson.loads, connection)
        return connection

    return sa.create_engine(
        url,
        creator=connect,
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=settings.pool_timeout,
        pool_use_lifo=True,
    )


class _Kept(sqlite3.Connection):
    """A connection that its thread keeps: closing only ends its transaction."""

    def close(self) -> None:
        self.rollback()


def _sqlite(url: sa.URL, settings: settings_module.Database) -> sa.Engine:
    kept = _thread_local()

    def connect() -> sqlite3.Connection:
        if not hasattr(kept, "connection"):
            connection = sqlite3.connect(
                url.database or ":memory:",
                timeout=settings.busy_timeout,
                isolation_level=None,
                factory=_Kept,
                check_same_thread=False,
                cached_statements=512,
            )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            # SQLite's own lower() knows ASCII only; a search must find every alphabet.
            connection.create_function("lower", 1, _lower, deterministic=True)
            kept.connection = connection
        return kept.connection  # type: ignore[no-any-return]

    engine = sa.create_engine(
        url, creator=connect, poolclass=NullPool, json_serializer=_dumps, json_deserializer=_loads
    )

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # sqlite3's own transactions begin too late to take the write lock first,
        # and a lock that is upgraded in mid-transaction fails instead of waiting.
        connection.exec_driver_sql(connection.info.pop("begin", "BEGIN"))

    return engine


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _thread_local() -> Any:
    """``threading.local``, also where gevent has replaced it."""
    if _gevent_patched():
        from gevent.monkey import get_original

        return get_original("threading", "local")()
    import threading

    return threading.local()
