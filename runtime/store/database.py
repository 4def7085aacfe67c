"""The database: transactions on PostgreSQL and SQLite, the same for every caller.

A transaction is a function of a connection, run by :meth:`Database.read` or
:meth:`Database.write`. All of ``store`` is made of such functions, so several
can share one transaction.

Under gevent a PostgreSQL connection waits cooperatively, but SQLite would stop
every greenlet of the process; there the whole function runs in a thread of the
hub's pool. Such threads must not meet a patched lock, hence no connection pool
on SQLite: each thread keeps one raw connection to itself.

PostgreSQL's connections are in autocommit, and a transaction that writes begins
by BEGIN. So what is a single statement needs no more than its own round trip:
what the run's way asks for most is one, in ``quick``.
"""

from __future__ import annotations

import contextvars
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import orjson
import psycopg
import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.pool import NullPool

from runtime import greenlets
from runtime import settings as settings_module
from runtime.errors import StoreUnavailable
from runtime.store import postgresql

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Connection = sa.Connection

_SQLITE_THREADS = 8
_READ, _PICTURE, _WRITE = "read", "picture", "write"
_BEGIN = {
    "sqlite": {_READ: "BEGIN", _PICTURE: "BEGIN", _WRITE: "BEGIN IMMEDIATE"},
    # READ COMMITTED shows each statement its own snapshot anyway; for a read there is nothing to begin.
    "postgresql": {_PICTURE: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", _WRITE: "BEGIN"},
}

UNUSUAL: Any = object()
"""What a quick way answers that has changed nothing, for the usual way to be taken."""

_quick: dict[Any, Callable[..., Any]] = {}


def quick_way_of(function: Any) -> Callable[[T], T]:
    """For a decorator: on PostgreSQL this is asked instead of ``function``.

    It is given psycopg's own connection, in autocommit, and may answer UNUSUAL.
    """

    def mark(quick: T) -> T:
        _quick[function] = cast(Callable[..., Any], quick)
        return quick

    return mark


class Database:
    """One database, reached by as many connections as the settings allow."""

    def __init__(self, url: str, settings: settings_module.Database) -> None:
        """``url`` is a SQLAlchemy URL; ``postgres://`` and ``postgresql://`` mean psycopg 3."""
        self.url = with_driver(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _sqlite(self.url, settings) if self.sqlite else _postgresql(self.url, settings)
        self._threads = greenlets.ThreadPool(_SQLITE_THREADS)
        self._distrusted = False
        """Whether a connection broke in use: those that lie idle are no better."""
        self._away = False
        if not self.sqlite:
            event.listen(self.engine, "checkout", self._refuse_broken)

    def read(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``function(connection, …)``, which changes nothing.

        On PostgreSQL each of its statements may see what was committed since the one
        before. Raises StoreUnavailable where the database is busy or away.
        """
        return cast(T, self._run(_READ, function, args, kwargs))

    def picture(
        self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The same, but all that it reads is of one moment."""
        return cast(T, self._run(_PICTURE, function, args, kwargs))

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

    def _run(self, kind: str, function: Any, args: Any, kwargs: Any) -> Any:
        """Once said in the log when the database is away, and once when it is back."""
        try:
            result = self._perform(kind, function, args, kwargs)
        except StoreUnavailable as error:
            if not self._away:
                self._away = True
                cause = getattr(error.__cause__, "orig", error.__cause__)
                log.warning("the database is busy or away: %s", str(cause).strip())
            raise
        if self._away:
            self._away = False
            log.warning("the database answers again")
        return result

    def _perform(self, kind: str, function: Any, args: Any, kwargs: Any) -> Any:
        if not self.sqlite:
            if quick := _quick.get(function):
                result = self._quickly(quick, args, kwargs)
                if result is not UNUSUAL:
                    return result
        elif greenlets.patched():
            # Functions may look at their caller's context (Flask's, say) there, too.
            context = contextvars.copy_context()
            return self._threads.call(context.run, self._transaction, kind, function, args, kwargs)
        return self._transaction(kind, function, args, kwargs)

    def _quickly(self, function: Any, args: Any, kwargs: Any) -> Any:
        with _translated():
            pooled = self.engine.raw_connection()
            try:
                return function(pooled.driver_connection, *args, **kwargs)
            except psycopg.Error as error:
                if cast(Any, pooled.driver_connection).closed:
                    self._distrusted = True
                    pooled.invalidate(error)
                raise
            finally:
                pooled.close()

    def _transaction(self, kind: str, function: Any, args: Any, kwargs: Any) -> Any:
        with _translated(), self.engine.connect() as connection:
            connection.info["begin"] = _BEGIN[self.engine.dialect.name].get(kind)
            with connection.begin():
                return function(connection, *args, **kwargs)

    def _refuse_broken(self, connection: Any, *pooled: Any) -> None:
        """Where an idle connection has ended, or one broke in use, do without it and all the others."""
        if self._distrusted or postgresql.ended(connection):
            self._distrusted = False
            raise exc.InvalidatePoolError("the server has closed the connection, or does not answer")


@contextmanager
def _translated() -> Iterator[None]:
    """Within it, a database that is busy or away is StoreUnavailable."""
    try:
        yield
    except _AWAY as error:
        raise StoreUnavailable from error


_AWAY = (
    exc.OperationalError,
    exc.InterfaceError,
    exc.InternalError,
    exc.TimeoutError,
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,
)


def with_driver(url: str) -> sa.URL:
    """The SQLAlchemy URL; ``postgres://`` and ``postgresql://`` mean psycopg 3."""
    if url.startswith("postgres://"):
        url = "postgresql" + url[len("postgres") :]
    parsed = sa.make_url(url)
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed


def _dumps(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def _dumps_for_sqlite(value: Any) -> str | bytes:
    """A column of type JSON is numeric for SQLite: a text that reads like a number would be kept as
    a number of its own choice (1 for 1.0), bytes are left alone."""
    text = _dumps(value)
    return text.encode() if isinstance(value, int | float) else text


def _loads(value: Any) -> Any:
    """What was kept before numbers were kept as bytes comes back as a number."""
    return value if isinstance(value, int | float) else orjson.loads(value)


def _postgresql(url: sa.URL, settings: settings_module.Database) -> sa.Engine:
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    engine = sa.create_engine(
        url,
        creator=lambda: postgresql.connect(dsn, settings.statement_timeout),
        hide_parameters=True,  # in errors, and so in logs: texts, and hashes of passwords
        json_serializer=_dumps,
        json_deserializer=orjson.loads,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=settings.pool_timeout,
        pool_use_lifo=True,
    )
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: sa.Connection) -> None:
    # The drivers' own transactions begin too late: SQLite's so that the write lock is not
    # taken first, and one that is upgraded in mid-transaction fails instead of waiting.
    begin = connection.info.pop("begin", "BEGIN")
    if begin:
        connection.exec_driver_sql(begin)


class _Kept(sqlite3.Connection):
    """A connection that its thread keeps: closing only ends its transaction."""

    def close(self) -> None:
        self.rollback()


def _sqlite(url: sa.URL, settings: settings_module.Database) -> sa.Engine:
    kept = greenlets.original("threading", "local")()

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
        url,
        creator=connect,
        poolclass=NullPool,
        hide_parameters=True,
        json_serializer=_dumps_for_sqlite,
        json_deserializer=_loads,
    )

    event.listen(engine, "begin", _begin)
    return engine


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()
