"""Which errors of SQLAlchemy and the drivers say that the database is away: every class is sorted.

If a test here fails after an upgrade, the package has a class of errors that is in no
table of runtime/store/engines/failures.py. Decide what it says, and add it there.
"""

from __future__ import annotations

import sqlite3

import psycopg.errors
import pytest
import sqlalchemy as sa
from psycopg import errors
from sqlalchemy import event, exc

from runtime.store.engines.failures import ENDED, SQLALCHEMY, SQLITE_CODES, SQLSTATES, is_away
from tests.support.failures import errors_of, instance, of_sqlite

AWAY = [
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.ConnectionTimeout,
    errors.ConnectionFailure,
    errors.DeadlockDetected,
    errors.DiskFull,
    errors.IdleInTransactionSessionTimeout,
    errors.InvalidCatalogName,
    errors.InvalidPassword,
    errors.LockNotAvailable,
    errors.ProtocolViolation,
    errors.QueryCanceled,
    errors.ReadOnlySqlTransaction,
    errors.SerializationFailure,
    errors.TooManyConnections,
    psycopg.DatabaseError,
    psycopg.InterfaceError,
    psycopg.InternalError,
    psycopg.OperationalError,
    exc.DisconnectionError,
    exc.InterfaceError,
    exc.InternalError,
    exc.OperationalError,
    exc.PendingRollbackError,
    exc.ResourceClosedError,
    exc.TimeoutError,
    sqlite3.OperationalError,
]
OURS = [
    errors.CheckViolation,
    errors.InFailedSqlTransaction,
    errors.InsufficientPrivilege,
    errors.NotNullViolation,
    errors.NumericValueOutOfRange,
    errors.ProgramLimitExceeded,
    errors.SyntaxError,
    errors.UndefinedTable,
    errors.UniqueViolation,
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.ProgrammingError,
    exc.ArgumentError,
    exc.DataError,
    exc.IntegrityError,
    exc.InvalidRequestError,
    exc.NoResultFound,
    exc.ProgrammingError,
    exc.StatementError,
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    ValueError,
]


def test_every_error_of_sqlalchemy_is_sorted() -> None:
    assert set(errors_of(exc)) == set(SQLALCHEMY)


def test_every_sqlstate_of_psycopg_is_sorted() -> None:
    states = {kind.sqlstate for kind in errors_of(psycopg.errors) if getattr(kind, "sqlstate", None)}

    assert len(states) > 200
    assert {state for state in states if state not in SQLSTATES and state[:2] not in SQLSTATES} == set()


def test_every_state_that_differs_from_its_class_is_one_of_psycopgs() -> None:
    for state in SQLSTATES:
        assert len(state) == 2 or errors.lookup(state)


def test_psycopg_has_only_known_errors_without_a_state() -> None:
    without = {kind.__name__ for kind in errors_of(psycopg.errors) if not getattr(kind, "sqlstate", None)}

    assert without == {
        "CancellationTimeout", "ConnectionTimeout", "DataError", "DatabaseError", "Error", "IntegrityError",
        "InterfaceError", "InternalError", "NotSupportedError", "OperationalError", "PipelineAborted",
        "ProgrammingError", "Warning", "_WaitTimeout",
    }  # fmt: skip


def test_every_code_of_sqlite_is_sorted() -> None:
    plain = {name: getattr(sqlite3, name) for name in dir(sqlite3) if name.startswith("SQLITE_")}
    codes = {code for name, code in plain.items() if name in RESULT_CODES}

    assert codes == set(SQLITE_CODES)


@pytest.mark.parametrize("kind", AWAY, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_an_ended_connection_or_a_busy_database_is_away(kind: type[Exception]) -> None:
    assert is_away(instance(kind))


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_a_refused_statement_is_our_fault(kind: type[Exception]) -> None:
    assert not is_away(instance(kind))


def test_sqlite_says_by_its_code_whether_it_is_away() -> None:
    assert is_away(of_sqlite(sqlite3.OperationalError, sqlite3.SQLITE_IOERR_READ))
    assert is_away(of_sqlite(sqlite3.OperationalError, sqlite3.SQLITE_BUSY))
    assert not is_away(of_sqlite(sqlite3.OperationalError, sqlite3.SQLITE_ERROR))
    assert not is_away(of_sqlite(sqlite3.DatabaseError, sqlite3.SQLITE_CORRUPT))


@pytest.mark.parametrize("wrap", [exc.DBAPIError, exc.OperationalError, exc.ProgrammingError])
def test_an_error_of_a_driver_counts_whatever_sqlalchemy_puts_around_it(wrap: type[exc.DBAPIError]) -> None:
    assert is_away(wrap("SELECT 1", {}, errors.AdminShutdown()))
    assert not is_away(wrap("SELECT 1", {}, errors.UniqueViolation()))


def test_an_error_that_ended_the_connection_is_away_whatever_it_says() -> None:
    assert is_away(exc.DBAPIError("SELECT 1", {}, errors.InternalError_(), connection_invalidated=True))


def test_the_pool_still_says_that_a_connection_is_closed() -> None:
    """A connection that is refused twice in a row: nothing but the text of the error says why."""
    engine = sa.create_engine("sqlite://")
    event.listen(engine, "checkout", _refuse)

    with pytest.raises(exc.InvalidRequestError) as caught:
        engine.connect()

    assert type(caught.value) is exc.InvalidRequestError
    assert ENDED[0] in str(caught.value)
    assert is_away(caught.value)


def _refuse(*_: object) -> None:
    raise exc.DisconnectionError


RESULT_CODES = {
    "SQLITE_ABORT", "SQLITE_AUTH", "SQLITE_BUSY", "SQLITE_CANTOPEN",
    "SQLITE_CONSTRAINT", "SQLITE_CORRUPT", "SQLITE_EMPTY",
    "SQLITE_ERROR", "SQLITE_FORMAT", "SQLITE_FULL", "SQLITE_INTERNAL",
    "SQLITE_INTERRUPT", "SQLITE_IOERR", "SQLITE_LOCKED",
    "SQLITE_MISMATCH", "SQLITE_MISUSE", "SQLITE_NOLFS", "SQLITE_NOMEM",
    "SQLITE_NOTADB", "SQLITE_NOTFOUND", "SQLITE_PERM",
    "SQLITE_PROTOCOL", "SQLITE_RANGE", "SQLITE_READONLY", "SQLITE_SCHEMA",
    "SQLITE_TOOBIG",
}  # fmt: skip
"""SQLite's primary codes of errors."""
