"""Pools: the pool processes that are alive, as they report themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.model import Json, Pool
from runtime.store.dialects import upsert
from runtime.store.tables import IS_CALL, IS_QUEUED, IS_RUNNING, is_at_work, now, pools, runs

FORGET_AFTER = 3600
"""Seconds after which a pool process that reports no more is forgotten."""


def report(
    c: Connection,
    name: str,
    incarnation: str,
    slots: int,
    workers: Mapping[str, Json],
    *,
    clock_skew: float | None = None,
    dropped_messages: int = 0,
    queue_refusal: str | None = None,
) -> None:
    """This pool process is alive; it can run these workers.

    ``clock_skew``: seconds by which its clock is ahead of the database's. ``dropped_messages``
    are those of its queue that were none of ours. ``queue_refusal`` is why the broker refuses
    that queue.
    """
    values = {
        "incarnation": incarnation,
        "name": name,
        "slots": slots,
        "workers": dict(workers),
        "clock_skew": clock_skew,
        "dropped_messages": dropped_messages,
        "queue_refusal": queue_refusal,
    }
    c.execute(_REPORT[c.dialect.name], values)


class Skew(NamedTuple):
    """How far a clock is from the database's."""

    seconds: float
    """By which it is ahead."""
    within: float
    """Seconds by which that may be wrong: half the time that it took to ask."""


def clock_skew(c: Connection, clock: Callable[[], float]) -> Skew:
    """How far ``clock``, in seconds since 1970, is from the database's."""
    before = clock()
    database = time(c).timestamp()
    after = clock()
    return Skew((before + after) / 2 - database, (after - before) / 2)


def time(c: Connection) -> datetime:
    """The database's."""
    now: datetime = c.execute(_NOW).scalar_one()
    return now


def withdraw(c: Connection, incarnation: str) -> None:
    """This pool process takes no more runs."""
    c.execute(pools.delete().where(pools.c.incarnation == incarnation))


def listing(c: Connection, lease: float) -> list[Pool]:
    """Every pool process that was seen in the last hour."""
    busy = (
        sa.select(runs.c.claimed_by, sa.func.count().label("n"))
        .where(IS_RUNNING, is_at_work())
        .group_by(runs.c.claimed_by)
        .subquery()
    )
    query = (
        sa.select(
            pools, sa.func.coalesce(busy.c.n, 0).label("busy"), (pools.c.seen_at > now(-lease)).label("alive")
        )
        .outerjoin(busy, busy.c.claimed_by == pools.c.incarnation)
        .order_by(pools.c.name, pools.c.incarnation)
    )
    return [
        Pool(
            row.name,
            row.incarnation,
            row.slots,
            row.busy,
            row.seen_at,
            bool(row.alive),
            row.workers,
            row.clock_skew,
            row.dropped_messages,
            row.queue_refusal,
        )
        for row in c.execute(query)
    ]


def names_with_backlog(c: Connection) -> list[str]:
    """Pools for which a run waits that is not published."""
    return list(c.execute(_WITH_BACKLOG).scalars())


def forget(c: Connection) -> None:
    """Drop what has not reported for an hour."""
    c.execute(pools.delete().where(pools.c.seen_at < now(-FORGET_AFTER)))


_REPORTED = ("slots", "workers", "seen_at", "clock_skew", "dropped_messages", "queue_refusal")
_REPORT = upsert(pools, "incarnation", _REPORTED, seen_at=now())
_WITH_BACKLOG = sa.select(runs.c.pool).where(IS_QUEUED, ~IS_CALL, runs.c.published_at.is_(None)).distinct()
_NOW = sa.select(now())
