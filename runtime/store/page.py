"""One page of a list, and the opaque cursor that leads to the next.

Lists are paged by key, never by offset: a page costs the same wherever it is,
and what is added meanwhile shifts nothing.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import orjson
import sqlalchemy as sa

from runtime.errors import FieldError, Invalid

T = TypeVar("T")
R = TypeVar("R")

_GREATEST_NUMBER = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list."""

    items: list[T]
    next: str | None
    """The cursor of the page after this one; None at the end of the list."""

    @classmethod
    def of(
        cls, rows: Sequence[R], limit: int, item: Callable[[R], T], key: Callable[[R], tuple[Any, ...]]
    ) -> Page[T]:
        """A page of at most ``limit`` items, made of up to ``limit + 1`` rows.

        The row too many only says that there is a next page. So do those that
        :func:`within_bytes` has left empty. ``key`` gives the values that the next page
        begins after.
        """
        shown = filled(rows[:limit])
        more = len(rows) > len(shown)
        return cls([item(row) for row in shown], encode_cursor(*key(shown[-1])) if more else None)


PAGE_BYTES = 16 << 20
"""Bytes that a page may have before the last of its items: a page of 1,000 messages could have 8 GB."""


def within_bytes(
    found: sa.Select[Any],
    large: Collection[str],
    newest: Sequence[str],
    dialect: str,
    *,
    oldest_first: bool = False,
) -> sa.Select[Any]:
    """``found``, with the columns ``large`` left empty in what comes after :data:`PAGE_BYTES` of them.

    ``newest``: the columns that ``found`` is ordered by, each descending, or with
    ``oldest_first`` ascending; together they are unique.
    Only what is filled is read from the disk and sent. :func:`filled` drops the other rows.
    """
    rows = found.subquery("rows")
    order = [rows.c[name].asc() if oldest_first else rows.c[name].desc() for name in newest]
    size = sum((bytes_of(rows.c[name], dialect) for name in large), start=sa.literal(0))
    before = sa.func.coalesce(sa.func.sum(size).over(order_by=order, rows=(None, -1)), 0)
    fits = before < sa.bindparam("page_bytes", callable_=lambda: PAGE_BYTES, type_=sa.BigInteger)
    columns = [
        sa.case((fits, column)).label(column.name) if column.name in large else column for column in rows.c
    ]
    return sa.select(*columns, fits.label("fits")).order_by(*order)


def filled(rows: Sequence[R]) -> Sequence[R]:
    """Those of :func:`within_bytes` that are not left empty, which are the first ones."""
    return [row for row in rows if getattr(row, "fits", True)]


def bytes_of(column: sa.ColumnElement[Any], dialect: str) -> sa.ColumnElement[int]:
    """The bytes of a text (in UTF-8) or of JSON, whether it is stored compressed or not."""
    if dialect == "postgresql":
        text = column if isinstance(column.type, sa.Text) else sa.cast(column, sa.Text)
        return sa.func.coalesce(sa.func.octet_length(text), 0)
    return sa.func.coalesce(sa.func.length(sa.cast(column, sa.LargeBinary)), 0)


def encode_cursor(*values: Any) -> str:
    """``values`` (what JSON can hold, and times) as an opaque text that is safe in a URL."""
    packed = orjson.dumps([value.isoformat() if isinstance(value, datetime) else value for value in values])
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode_cursor(text: str, *kinds: Callable[[Any], Any]) -> tuple[Any, ...]:
    """The values of a cursor, each passed through its ``kind`` (such as :func:`id_of`) if any are given.

    Raises Invalid for whatever :func:`encode_cursor` did not make.
    """
    try:
        values = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        if not kinds:
            return tuple(values)
        return tuple(kind(value) for kind, value in zip(kinds, values, strict=True))
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise no_cursor() from error


def position_of(cursor: str, moment: sa.Column[Any], key: sa.Column[Any]) -> sa.Tuple:
    """What to compare ``moment`` and ``key`` with, by which a list is sorted, to go on after ``cursor``."""
    at, item_id = decode_cursor(cursor, time_of, id_of)
    return sa.tuple_(sa.literal(at, moment.type), sa.literal(item_id, key.type))


def after(moment: sa.Column[Any], key: sa.Column[Any]) -> sa.ColumnElement[bool]:
    """What is in a list, newest first by ``moment`` and ``key``, after the position of :func:`start_of`."""
    start = sa.bindparam("after_moment", type_=moment.type), sa.bindparam("after_key", type_=key.type)
    return sa.tuple_(moment, key) < sa.tuple_(*start)


def start_of(cursor: str) -> dict[str, Any]:
    """The parameters of :func:`after` for the page after ``cursor``. Raises Invalid."""
    moment, key = decode_cursor(cursor, time_of, id_of)
    return {"after_moment": moment, "after_key": key}


def no_cursor() -> Invalid:
    """What is raised for a cursor that was not given out."""
    return Invalid(
        "The cursor is not valid; use `next` of the page before as it is.",
        [FieldError(("cursor",), "not a cursor of this list")],
    )


def id_of(value: Any) -> str:
    """A cursor's value as an id. Raises ValueError."""
    return str(uuid.UUID(value))


def number_of(value: Any) -> int:
    """A cursor's value as a number that fits a column. Raises ValueError."""
    if not isinstance(value, int) or not 0 <= value <= _GREATEST_NUMBER:
        raise ValueError(value)
    return value


def time_of(value: Any) -> datetime:
    """A cursor's value as a time in UTC. Raises ValueError, OverflowError."""
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(value)
    return moment.astimezone(UTC)
