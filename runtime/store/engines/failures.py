"""What an error of a database means: the database is busy or away, or the fault is ours.

Whoever meets a database that is away waits and tries again, for as long as it takes. So
the two must not be confused. An ended connection that counts as our fault ends a run, or
is a 500, although nobody is to blame. A mistake of ours that counts as an absence is
tried again for ever.

Every class that SQLAlchemy defines is in a table here, and every class of SQLSTATE and
primary code of SQLite. ``tests/unit/test_store_failures.py`` fails when a new version
brings one that is in none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

import psycopg
from sqlalchemy import exc


class Sort(Enum):
    """What a class of errors says about the database."""

    AWAY = "away"
    """It is busy, away, or has ended the connection: the same may succeed in a moment."""
    OURS = "ours"
    """It answers, and refuses what was asked: the same would be refused again."""
    BY_CAUSE = "by cause"
    """SQLAlchemy has put its own error around another one, which says it."""


def is_away(error: BaseException) -> bool:
    """Whether this error says that the database is busy or away, or that it has ended the connection."""
    return _sort(error) is Sort.AWAY


def lacks_right(error: BaseException) -> bool:
    """Whether PostgreSQL says that our user may not do this."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    return isinstance(cause, psycopg.errors.InsufficientPrivilege)


def _sort(error: BaseException) -> Sort:
    if isinstance(error, psycopg.Error):
        return _of_psycopg(error)
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error)
    if isinstance(error, exc.SQLAlchemyError):
        return _of_sqlalchemy(error)
    return Sort.OURS


def _of_sqlalchemy(error: exc.SQLAlchemyError) -> Sort:
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return Sort.AWAY
    if type(error) is exc.InvalidRequestError:
        # Its subclasses have classes of their own. It has no other mark than its text.
        return Sort.AWAY if any(text in str(error) for text in ENDED) else Sort.OURS
    kind = next(kind for kind in type(error).__mro__ if kind in SQLALCHEMY)
    if SQLALCHEMY[kind] is not Sort.BY_CAUSE:
        return SQLALCHEMY[kind]
    cause = error.orig if isinstance(error, exc.StatementError) else None
    if isinstance(cause, psycopg.Error | sqlite3.Error | exc.SQLAlchemyError):
        return _sort(cause)
    return Sort.AWAY if isinstance(error, _AWAY_WITHOUT_CAUSE) else Sort.OURS


def _of_psycopg(error: psycopg.Error) -> Sort:
    state = error.sqlstate
    if state is not None and (found := SQLSTATES.get(state) or SQLSTATES.get(state[:2])):
        return found
    # It comes from psycopg itself or from libpq, which have no codes. Where the server ends
    # a connection in the midst of an answer, the class may be that of no state in particular.
    ours = (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError, psycopg.NotSupportedError)
    return Sort.OURS if isinstance(error, ours) else Sort.AWAY


def _of_sqlite(error: sqlite3.Error) -> Sort:
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return SQLITE_CODES.get(code & 0xFF, Sort.OURS)
    return Sort.AWAY if isinstance(error, sqlite3.OperationalError) else Sort.OURS


ENDED = ("connection is closed", "transaction is inactive")
"""What an InvalidRequestError says where a connection has ended: the pool's after it got two
ended ones in a row, and that of a transaction whose connection has ended under it."""

_AWAY_WITHOUT_CAUSE = (exc.OperationalError, exc.InterfaceError, exc.InternalError)

SQLALCHEMY: Mapping[type[Exception], Sort] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                exc.DisconnectionError,
                exc.InvalidatePoolError,
                exc.PendingRollbackError,
                exc.ResourceClosedError,
                exc.TimeoutError,
            ),
            Sort.AWAY,
        ),
        **dict.fromkeys(
            (
                exc.StatementError,
                exc.DBAPIError,
                exc.DatabaseError,
                exc.DataError,
                exc.IntegrityError,
                exc.InterfaceError,
                exc.InternalError,
                exc.NotSupportedError,
                exc.OperationalError,
                exc.ProgrammingError,
            ),
            Sort.BY_CAUSE,
        ),
        **dict.fromkeys(
            (
                exc.SQLAlchemyError,
                exc.AmbiguousColumnError,
                exc.AmbiguousForeignKeysError,
                exc.ArgumentError,
                exc.AwaitRequired,
                exc.CircularDependencyError,
                exc.CompileError,
                exc.ConstraintColumnNotFoundError,
                exc.DuplicateColumnError,
                exc.EmulatedDBAPIException,
                exc.IdentifierError,
                exc.IllegalStateChangeError,
                exc.InvalidRequestError,
                exc.MissingGreenlet,
                exc.MultipleResultsFound,
                exc.NoDBAPILoaded,
                exc.NoForeignKeysError,
                exc.NoInspectionAvailable,
                exc.NoReferenceError,
                exc.NoReferencedColumnError,
                exc.NoReferencedTableError,
                exc.NoResultFound,
                exc.NoSuchColumnError,
                exc.NoSuchModuleError,
                exc.NoSuchTableError,
                exc.ObjectNotExecutableError,
                exc.UnboundExecutionError,
                exc.UnreflectableTableError,
                exc.UnsupportedCompilationError,
            ),
            Sort.OURS,
        ),
    }
)
"""Each class of SQLAlchemy's errors; warnings are none."""

_REFUSALS = (
    "01", "02", "03", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "20", "21", "22", "23", "24", "25",
    "26", "27", "2B", "2D", "2F", "34", "38", "39", "3B", "3F", "40", "42", "44", "54", "55", "F0", "HV",
    "P0", "XX",
)  # fmt: skip
"""Classes of SQLSTATEs."""

SQLSTATES: Mapping[str, Sort] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "08",  # connection exceptions
                "28",  # the sign-in is refused: nobody gets in until an operator mends it
                "3D",  # there is no such database
                "53",  # the disk or the memory is full, too many connections
                "57",  # shut down, starting up, statement cancelled for its time
                "58",  # the server's disk or files fail
                "72",  # a snapshot that is too old
                "25006",  # the server only reads: a standby, since a failover
                "25P03",  # it ended a transaction that asked for nothing
                "25P04",  # it ended a transaction that took too long
                "40000",
                "40001",  # another transaction came first
                "40003",
                "40P01",  # a deadlock
                "55006",
                "55P03",  # somebody else holds the lock
            ),
            Sort.AWAY,
        ),
        **dict.fromkeys(
            _REFUSALS,
            Sort.OURS,
        ),
    }
)
"""Each class of PostgreSQL's SQLSTATEs, and single states that differ from the rest of their class."""

SQLITE_CODES: Mapping[int, Sort] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                sqlite3.SQLITE_ABORT,
                sqlite3.SQLITE_BUSY,
                sqlite3.SQLITE_CANTOPEN,
                sqlite3.SQLITE_FULL,
                sqlite3.SQLITE_INTERRUPT,
                sqlite3.SQLITE_IOERR,
                sqlite3.SQLITE_LOCKED,
                sqlite3.SQLITE_NOMEM,
                sqlite3.SQLITE_PERM,
                sqlite3.SQLITE_PROTOCOL,
                sqlite3.SQLITE_READONLY,
            ),
            Sort.AWAY,
        ),
        **dict.fromkeys(
            (
                sqlite3.SQLITE_AUTH,
                sqlite3.SQLITE_CONSTRAINT,
                sqlite3.SQLITE_CORRUPT,
                sqlite3.SQLITE_EMPTY,
                sqlite3.SQLITE_ERROR,
                sqlite3.SQLITE_FORMAT,
                sqlite3.SQLITE_INTERNAL,
                sqlite3.SQLITE_MISMATCH,
                sqlite3.SQLITE_MISUSE,
                sqlite3.SQLITE_NOLFS,
                sqlite3.SQLITE_NOTADB,
                sqlite3.SQLITE_NOTFOUND,
                sqlite3.SQLITE_RANGE,
                sqlite3.SQLITE_SCHEMA,
                sqlite3.SQLITE_TOOBIG,
            ),
            Sort.OURS,
        ),
    }
)
"""Each primary result code of SQLite."""
