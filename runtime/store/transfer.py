"""Whole threads: reading all rows of one for an export, and writing those of an import.

Rows are read and written in batches. Under gevent other greenlets run between two of
them, and no statement keeps the server's answer waiting for long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.model import Json, Message, State
from runtime.store.messages import COLUMNS, record
from runtime.store.tables import Id, messages, runs, states, threads

T = TypeVar("T")

BATCH = 500
"""Rows that are written or read in one step."""


def states_of(c: Connection, thread_id: str, columns: Sequence[str]) -> Iterator[dict[str, Json]]:
    """These columns of all states of a thread, parents before children."""
    query = (
        sa.select(*(states.c[name] for name in columns))
        .where(states.c.thread_id == thread_id)
        .order_by(states.c.depth, states.c.parent_id, states.c.ordinal)
    )
    return _rows(c, query)


def runs_of(c: Connection, thread_id: str, columns: Sequence[str]) -> Iterator[dict[str, Json]]:
    """These columns of all runs of a thread, oldest first."""
    query = sa.select(*(runs.c[name] for name in columns)).where(runs.c.thread_id == thread_id)
    return _rows(c, query.order_by(runs.c.created_at, runs.c.id))


def messages_of(c: Connection, thread_id: str, make: Callable[[Message], T]) -> dict[str, list[T]]:
    """All messages of a thread that count, by state, each as ``make`` returns it."""
    found: dict[str, list[T]] = {}
    for row in c.execute(_MESSAGES, {"thread": thread_id}):
        found.setdefault(row.state_id, []).append(make(record(row)))
    return found


def insert_runs(c: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store runs as they are."""
    c.execute(_INSERT_RUNS, rows)


def update_root(c: Connection, root: State) -> None:
    """Give the root of a new thread what an import says of it."""
    c.execute(
        states.update()
        .where(states.c.id == root.id)
        .values(children=root.children, label=root.label, starred=root.starred, created_at=root.created_at)
    )


def update_thread(c: Connection, thread_id: str, *, latest_state_id: str, status: str) -> None:
    """Give a new thread what an import says of it."""
    c.execute(
        threads.update()
        .where(threads.c.id == thread_id)
        .values(latest_state_id=latest_state_id, status=status)
    )


def _rows(c: Connection, query: sa.Select[Any]) -> Iterator[dict[str, Json]]:
    for row in c.execute(query.execution_options(yield_per=BATCH)):
        yield {str(name): value for name, value in row._mapping.items()}


_MESSAGES = (
    sa.select(*COLUMNS)
    .join(states, states.c.id == messages.c.state_id)
    .where(states.c.thread_id == sa.bindparam("thread", type_=Id), ~messages.c.void)
    .order_by(messages.c.state_id, messages.c.position)
    .execution_options(yield_per=BATCH)
)
_INSERT_RUNS = runs.insert()
