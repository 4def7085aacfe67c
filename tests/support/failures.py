"""Errors of drivers, raised where the drivers themselves raise them."""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import cycle
from types import ModuleType
from typing import Any, TypeVar

import amqp.exceptions
import kombu.exceptions
import psycopg
import psycopg.errors
import pytest
import redis.exceptions
from sqlalchemy import exc

from runtime.store.engines import sqlite

T = TypeVar("T")


def errors_of(module: ModuleType) -> list[type[Exception]]:
    """Every class of errors that a module defines, and no warning."""
    package = module.__name__.partition(".")[0]
    found = {
        kind
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, Exception) and not issubclass(kind, Warning)
        if kind.__module__.partition(".")[0] == package
    }
    return sorted(found, key=lambda kind: kind.__qualname__)


def broker_errors() -> list[type[Exception]]:
    """Each class that the clients of the brokers define, and some that nobody expects."""
    modules = (amqp.exceptions, kombu.exceptions, redis.exceptions)
    return [*(kind for module in modules for kind in errors_of(module)), OSError, KeyError, ValueError]


def instance(kind: type[Exception]) -> Exception:
    """An error of that class, whatever its constructor asks for."""
    if issubclass(kind, exc.StatementError):
        return kind("it failed", "SELECT 1", {}, ValueError("not the driver's"))
    for arguments in (["it failed"], ["it failed"] * 2, ["it failed"] * 3, ["1 127.0.0.1:1"], []):
        with suppress(TypeError, IndexError, ValueError):
            return kind(*arguments)
    raise AssertionError(f"{kind} cannot be made")


def of_sqlite(kind: type[sqlite3.Error], code: int) -> sqlite3.Error:
    """An error as SQLite raises it, with a result code."""
    error = kind("it failed")
    error.sqlite_errorcode = code
    return error


def database_errors() -> list[Exception]:
    """One of each class that psycopg, sqlite3 and SQLAlchemy have, and what an ended connection raises."""
    kinds = [*errors_of(psycopg), *errors_of(psycopg.errors), *errors_of(exc), *errors_of(sqlite3)]
    return [
        *map(instance, dict.fromkeys(kinds)),
        exc.InvalidRequestError("This connection is closed"),
        of_sqlite(sqlite3.OperationalError, sqlite3.SQLITE_BUSY),
        of_sqlite(sqlite3.OperationalError, sqlite3.SQLITE_ERROR),
    ]


def dealt(errors: Iterable[Exception], places: Iterable[T]) -> Iterator[tuple[Exception, T]]:
    """Each error with one of the places where it may be raised, in turn.

    How each class is sorted is asserted in tests/unit; that a place asks for it shows with a few.
    """
    return zip(errors, cycle(places), strict=False)


@contextmanager
def raised_by_the_driver(error: Exception) -> Iterator[None]:
    """Within it, whatever statement is executed, on PostgreSQL or SQLite, raises that error."""

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    class Cursor(sqlite3.Cursor):
        execute = executemany = fail

    def cursor(self: sqlite3.Connection, *_: Any) -> sqlite3.Cursor:
        return sqlite3.Connection.cursor(self, Cursor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", fail)
        patch.setattr(psycopg.Cursor, "executemany", fail)
        patch.setattr(sqlite._ThreadConnection, "cursor", cursor, raising=False)
        yield
