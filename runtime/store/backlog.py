"""The backlog: queued runs, and which of them are published.

A run is published while its pool has fewer than twice its slots published and
unclaimed. All others wait here, where order and fairness are SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from runtime.model import Run
from runtime.store.tables import Id, now, pools, runs

Connection = sa.Connection


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the broker is told of a run; ``worker_id`` and ``attempt`` only for display."""

    run_id: str
    pool: str
    worker_id: str
    attempt: int


def ticket(run: Run) -> Ticket:
    """The ticket of a run that waits to be claimed."""
    return Ticket(run.id, run.pool, run.worker_id, run.attempt + 1)


def take(c: Connection, pool: str, lease: float) -> list[Ticket]:
    """Mark as published what the pool has room for, fair between users, and return it."""
    room = _room(c, pool, lease)
    if room <= 0:
        return []
    rank = (
        sa.func.row_number()
        .over(partition_by=runs.c.user_id, order_by=[runs.c.priority.desc(), runs.c.id])
        .label("rank")
    )
    backlog = (
        sa.select(runs.c.id, rank)
        .where(
            runs.c.pool == pool,
            runs.c.status == sa.literal_column("'queued'"),
            runs.c.published_at.is_(None),
            sa.or_(runs.c.not_before.is_(None), runs.c.not_before <= now()),
        )
        .subquery()
    )
    chosen = sa.select(backlog.c.id).order_by(backlog.c.rank, backlog.c.id).limit(room)
    taken = (
        runs.update()
        .where(runs.c.id.in_(chosen), runs.c.status == "queued", runs.c.published_at.is_(None))
        .values(published_at=now())
        .returning(runs.c.id, runs.c.worker_id, runs.c.attempt)
    )
    rows = sorted(c.execute(taken).all(), key=lambda row: row.id)
    return [Ticket(row.id, pool, row.worker_id, row.attempt + 1) for row in rows]


def put_back(c: Connection, run_ids: Sequence[str], pause: float = 0.0) -> None:
    """These could not be published, or started, after all; the next try comes after ``pause`` seconds."""
    values = {"published_at": None} | ({"not_before": now(pause)} if pause else {})
    c.execute(runs.update().where(runs.c.id.in_(run_ids), runs.c.status == "queued").values(**values))


def forget_unclaimed(c: Connection, grace: float, lease: float) -> int:
    """Back to the backlog with what was published ``grace`` seconds ago and nobody
    claimed although its pool has free slots: its message was lost."""
    busy = (
        sa.select(runs.c.pool, sa.func.count().label("n"))
        .where(runs.c.status == sa.literal_column("'running'"))
        .group_by(runs.c.pool)
        .subquery()
    )
    free = (
        sa.select(pools.c.name)
        .outerjoin(busy, busy.c.pool == pools.c.name)
        .where(pools.c.seen_at > now(-lease))
        .group_by(pools.c.name, busy.c.n)
        .having(sa.func.sum(pools.c.slots) > sa.func.coalesce(busy.c.n, 0))
    )
    result = c.execute(
        runs.update()
        .where(
            runs.c.status == sa.literal_column("'queued'"),
            runs.c.published_at < now(-grace),
            runs.c.pool.in_(free),
        )
        .values(published_at=None)
    )
    return result.rowcount


@dataclass(frozen=True, slots=True)
class Queue:
    """How long the queue of a pool is, and how many in it are of one user."""

    of_user: int
    """In all pools."""
    of_pool: int
    unpublished: int
    slots: int
    """What the pool's living processes can execute at once."""

    @property
    def room(self) -> int:
        """How many new runs may be published at once; none while older ones wait."""
        return 0 if self.unpublished else 2 * self.slots - self.of_pool


def look(c: Connection, pool: str, user_id: str, lease: float) -> Queue:
    """The queue as it is now."""
    row = c.execute(_LOOK, {"pool": pool, "user": user_id, "lease": -lease}).one()
    return Queue(row.of_user, row.of_pool, row.unpublished, row.slots)


def slots(c: Connection, pool: str, lease: float) -> int:
    """How many runs the living processes of a pool can execute at once."""
    return int(c.execute(sa.select(_SLOTS), {"pool": pool, "lease": -lease}).scalar_one())


def _room(c: Connection, pool: str, lease: float) -> int:
    """How many more may be published; 0 also where none waits."""
    row = c.execute(ROOM, {"pool": pool, "lease": -lease}).one()
    return int(min(row.unpublished, 2 * row.slots - row.published))


_POOL = sa.bindparam("pool", type_=sa.Text)
_SLOTS = (
    sa.select(sa.func.coalesce(sa.func.sum(pools.c.slots), 0))
    .where(pools.c.name == _POOL, pools.c.seen_at > now(sa.bindparam("lease", type_=sa.Float)))
    .scalar_subquery()
)
_IS_QUEUED = runs.c.status == sa.literal_column("'queued'")
_UNPUBLISHED = runs.c.published_at.is_(None)
_LOOK = sa.select(
    sa.func.count().filter(runs.c.user_id == sa.bindparam("user", type_=Id)).label("of_user"),
    sa.func.count().filter(runs.c.pool == _POOL).label("of_pool"),
    sa.func.count().filter(runs.c.pool == _POOL, _UNPUBLISHED).label("unpublished"),
    _SLOTS.label("slots"),
).where(_IS_QUEUED)
ROOM = sa.select(
    sa.func.count().filter(_UNPUBLISHED).label("unpublished"),
    sa.func.count().filter(~_UNPUBLISHED).label("published"),
    _SLOTS.label("slots"),
).where(_IS_QUEUED, runs.c.pool == _POOL)
