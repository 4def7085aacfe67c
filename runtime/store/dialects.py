"""What PostgreSQL and SQLite need differently in an operation that is otherwise the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

_INSERT: Mapping[str, Any] = {"postgresql": insert_postgresql, "sqlite": insert_sqlite}


def upsert(
    table: sa.Table, key: str, replaced: tuple[str, ...], *, where: Any = None, **values: Any
) -> Mapping[str, Any]:
    """For each dialect's name, the statement that inserts a row or replaces columns of the one there is.

    ``key`` is the unique column, ``replaced`` the columns that an existing row takes from the new
    one, and ``values`` are expressions of SQL that are the same for every execution. ``where``
    an existing row is not so, it stays as it is.
    """
    return {
        dialect: _upsert(insert(table), key, replaced, where, values) for dialect, insert in _INSERT.items()
    }


def insert_new(table: sa.Table, rows: sa.Select[Any], returning: str) -> Mapping[str, Any]:
    """For each dialect's name, the statement that inserts ``rows``, with all columns of the table, but
    those whose primary key is there; it returns a column of those that it has inserted."""
    names = [column.name for column in table.columns]
    return {
        dialect: insert(table)
        .from_select(names, rows)
        .on_conflict_do_nothing(index_elements=[column.name for column in table.primary_key])
        .returning(table.c[returning])
        for dialect, insert in _INSERT.items()
    }


def insert_or_ignore(table: sa.Table, **values: Any) -> Mapping[str, Any]:
    """For each dialect's name, the statement that inserts a row, unless its primary key is there.

    ``values`` are expressions of SQL that are the same for every execution.
    """
    keys = [column.name for column in table.primary_key]
    return {
        dialect: insert(table).values(**values).on_conflict_do_nothing(index_elements=keys)
        for dialect, insert in _INSERT.items()
    }


class member(FunctionElement[Any]):  # noqa: N801 - a function of SQL, as in sa.func
    """The member of a JSON object, which is given as text, whose name is a text without quotes."""

    type = sa.JSON()
    inherit_cache = True


@compiles(member, "postgresql")
def _member_postgresql(element: member, compiler: Any, **how: Any) -> str:
    document, name = (compiler.process(clause, **how) for clause in element.clauses)
    return f"(CAST({document} AS JSONB) -> {name})"


@compiles(member, "sqlite")
def _member_sqlite(element: member, compiler: Any, **how: Any) -> str:
    document, name = (compiler.process(clause, **how) for clause in element.clauses)
    return f"json_extract({document}, '$.\"' || {name} || '\"')"


class has_member(FunctionElement[bool]):  # noqa: N801 - a function of SQL, as in sa.func
    """Whether a JSON object, which is given as text, has a member whose name is a text without quotes."""

    type = sa.Boolean()
    inherit_cache = True


@compiles(has_member, "postgresql")
def _has_member_postgresql(element: has_member, compiler: Any, **how: Any) -> str:
    document, name = (compiler.process(clause, **how) for clause in element.clauses)
    return f"jsonb_exists(CAST({document} AS JSONB), {name})"


@compiles(has_member, "sqlite")
def _has_member_sqlite(element: has_member, compiler: Any, **how: Any) -> str:
    document, name = (compiler.process(clause, **how) for clause in element.clauses)
    return f"(json_type({document}, '$.\"' || {name} || '\"') IS NOT NULL)"


class microseconds(FunctionElement[int]):  # noqa: N801 - a function of SQL, as in sa.func
    """``microseconds(since, until)``: the sum of those between two times of each row, which is exact."""

    type = sa.BigInteger()
    inherit_cache = True


@compiles(microseconds, "postgresql")
def _microseconds_postgresql(element: microseconds, compiler: Any, **how: Any) -> str:
    since, until = (compiler.process(clause, **how) for clause in element.clauses)
    return f"CAST(extract(epoch FROM sum({until} - {since})) * 1000000 AS BIGINT)"


@compiles(microseconds, "sqlite")
def _microseconds_sqlite(element: microseconds, compiler: Any, **how: Any) -> str:
    since, until = (compiler.process(clause, **how) for clause in element.clauses)
    return f"sum(CAST(round((julianday({until}) - julianday({since})) * 86400000) AS INTEGER) * 1000)"


class is_within(FunctionElement[bool]):  # noqa: N801 - a function of SQL, as in sa.func
    """``is_within(since, until, seconds)``: whether at most so many are between the times of a row."""

    type = sa.Boolean()
    inherit_cache = True

    def __init__(self, since: Any, until: Any, seconds: float) -> None:
        # As a literal: PostgreSQL makes an interval of it once, and not for each row.
        super().__init__(since, until, sa.literal_column(str(float(seconds))))


@compiles(is_within, "postgresql")
def _is_within_postgresql(element: is_within, compiler: Any, **how: Any) -> str:
    since, until, seconds = (compiler.process(clause, **how) for clause in element.clauses)
    return f"({until} <= {since} + make_interval(secs => {seconds}))"


@compiles(is_within, "sqlite")
def _is_within_sqlite(element: is_within, compiler: Any, **how: Any) -> str:
    since, until, seconds = (compiler.process(clause, **how) for clause in element.clauses)
    return f"((julianday({until}) - julianday({since})) * 86400.0 <= {seconds})"


class position(FunctionElement[int]):  # noqa: N801 - a function of SQL, as in sa.func
    """``position(text, folded, term)``: the character of the folded text where ``term`` begins, from 1;
    0 where it does not have it. Where ``folded`` is NULL, the text is folded."""

    type = sa.Integer()
    inherit_cache = True


@compiles(position, "postgresql")
def _position_postgresql(element: position, compiler: Any, **how: Any) -> str:
    # By the rules of "C", which every server has: they lower the letters of ASCII, and nothing else.
    text, folded, term = (compiler.process(clause, **how) for clause in element.clauses)
    return f'strpos(coalesce({folded}, lower({text} COLLATE "C")), {term})'


@compiles(position, "sqlite")
def _position_sqlite(element: position, compiler: Any, **how: Any) -> str:
    text, folded, term = (compiler.process(clause, **how) for clause in element.clauses)
    return f"instr(coalesce({folded}, fold({text})), {term})"


def lock_transaction(c: sa.Connection, key: int) -> None:
    """Wait until no other transaction holds the lock ``key``, then hold it until this one ends.

    SQLite needs no such lock: its write transactions begin with BEGIN IMMEDIATE, one at a time.
    """
    if c.dialect.name == "postgresql":
        c.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def _upsert(
    statement: Any, key: str, replaced: tuple[str, ...], where: Any, values: Mapping[str, Any]
) -> Any:
    return (statement.values(**values) if values else statement).on_conflict_do_update(
        index_elements=[key], set_={name: statement.excluded[name] for name in replaced}, where=where
    )
