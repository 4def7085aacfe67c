"""The backlog: queued runs, which of them are published, and why the others wait.

A run is published while its pool has fewer published, unclaimed runs than slots. The
others stay in the database, where SQL applies order and limits. Within one user the
order is priority, then age. Between users the lowest turn goes first: a run's turn is its
position among its user's waiting runs, plus the runs that the user has published or
running in the pool.

Sub-runs are in no backlog (:mod:`runtime.store.calls`). A run that waits for one keeps its slot
from others like it, and counts as well for whoever is at work in it; of each user, worker and
pool, the greater of both numbers is what counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import ARRAY

from runtime.model import QueueReason, Run, RunStatus
from runtime.store.dialects import lock_transaction
from runtime.store.tables import IS_CALL, IS_QUEUED, IS_RUNNING, Id, is_at_work, now, pools, runs

_LOCK = 0x6272616E63686C71  # the key of the advisory lock: "branchlq" in ASCII
_FEW = 200
"""With at most so many waiting users, reading each one's first runs by index beats numbering all runs."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What is published of a run; ``worker_id`` and ``attempt`` only for display."""

    run_id: str
    pool: str
    worker_id: str
    attempt: int


def ticket(run: Run) -> Ticket:
    """The ticket of a run that waits to be claimed."""
    return Ticket(run.id, run.pool, run.worker_id, run.attempt + 1)


@dataclass(frozen=True, slots=True)
class Capacity:
    """Slots, published runs and worker limits of a pool, as its living processes report them."""

    slots: int
    published: int
    """0 if no process lives, whatever is published."""
    waiting: bool
    """Whether a run waits that is not published."""
    limits: Mapping[str, int]
    """Worker → how many of its runs may run at once, where its worker.toml says so."""
    workers: frozenset[str] = frozenset()
    """Those that some process has."""
    refused: bool = False
    """Whether the broker refuses the queue to every living process, so that none has slots."""

    @property
    def free(self) -> int:
        """How many more may be published; 0 also where none waits."""
        return max(0, self.slots - self.published) if self.waiting else 0


def capacity_of(rows: Iterable[Sequence[Any]]) -> Capacity:
    """From the rows of :data:`CAPACITY`, one for each process. The strictest reported limit counts."""
    capacity = Capacity(0, 0, False, {})
    refusals = []
    for published, waiting, slots, workers, refusal in rows:
        limits = {worker_id: report.get("max_running") for worker_id, report in workers.items()}
        stricter = {
            worker_id: min(limit, capacity.limits.get(worker_id, limit))
            for worker_id, limit in limits.items()
            if limit
        }
        refusals.append(refusal is not None)
        usable = 0 if refusal else slots
        capacity = Capacity(
            capacity.slots + usable,
            published,
            bool(waiting),
            {**capacity.limits, **stricter},
            capacity.workers | workers.keys(),
        )
    return replace(capacity, refused=bool(refusals) and all(refusals))


def claim_for_publish(c: Connection, pool: str, lease: float, per_user: int = 0) -> list[Ticket]:
    """Mark the next runs as published, within free slots and limits, and return them in their order.

    ``per_user``: how many runs of a user may be published or running at once; 0 means any number.
    """
    lock(c)
    tickets: list[Ticket] = []
    while (capacity := _capacity(c, pool, lease)).free:
        more = _mark(c, pool, _next(c, pool, capacity, per_user))
        tickets += more
        # A chosen run may use up the limit of its user or worker: look again, for runs of others.
        if not more or not (per_user or capacity.limits):
            break
    return tickets


def lock(c: Connection) -> None:
    """One process at a time counts what is free and claims it, else two would claim the same slots."""
    lock_transaction(c, _LOCK)


def unpublish(c: Connection, run_ids: Sequence[str], pause: float = 0.0) -> None:
    """Return runs to the backlog; they may be published again after ``pause`` seconds."""
    values = {"published_at": None} | ({"not_before": now(pause)} if pause else {})
    c.execute(runs.update().where(runs.c.id.in_(run_ids), runs.c.status == "queued").values(**values))


def release_held_back(c: Connection, pool: str, worker_ids: Sequence[str]) -> None:
    """A process of the pool has these workers now: their runs wait no longer, but for a failed one's backoff.

    They were held back because no process that was asked had the worker.
    """
    held_back = (IS_QUEUED, runs.c.pool == pool, runs.c.worker_id.in_(worker_ids), runs.c.not_before > now())
    c.execute(runs.update().where(*held_back, runs.c.last_failure.is_(None)).values(not_before=None))


def are_unclaimed(c: Connection, grace: float) -> bool:
    """Whether there are runs that :func:`forget_unclaimed` would look at; costs less than that."""
    return c.execute(_ARE_UNCLAIMED, {"grace": -grace}).scalar_one()


def forget_unclaimed(c: Connection, grace: float, lease: float) -> int:
    """Return runs to the backlog whose message was probably lost. Returns how many.

    They were published more than ``grace`` seconds ago, and not claimed although their pool
    has a free slot. A sub-run is taken only by a process that has one.
    """
    return c.execute(_FORGET_UNCLAIMED, {"grace": -grace, "lease": -lease}).rowcount


def lengths(c: Connection) -> dict[str, int]:
    """How many runs are queued, by pool."""
    query = sa.select(runs.c.pool, sa.func.count()).where(IS_QUEUED).group_by(runs.c.pool)
    return {row[0]: row[1] for row in c.execute(query)}


@dataclass(frozen=True, slots=True)
class QueueStats:
    """The queue as admission sees it: a user's queued runs in all pools, and one pool's queue and slots."""

    of_user: int
    """Queued runs of the user, in all pools."""
    of_pool: int
    published: int
    waiting: bool
    """Whether a run is queued that is not published, and whose backoff is over."""
    slots: int
    """What the pool's living processes can execute at once."""

    @property
    def room(self) -> int:
        """How many new runs may be published at once; 0 while older ones wait, which they would overtake."""
        return 0 if self.waiting else max(0, self.slots - self.published)


def queue_stats(c: Connection, pool: str, user_id: str, lease: float) -> QueueStats:
    """The queue as it is now."""
    row = c.execute(_LOOK, {"pool": pool, "user": user_id, "lease": -lease}).one()
    return QueueStats(row.of_user, row.of_pool, row.published, bool(row.waiting), row.slots)


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a queued run waits, with the figures behind it."""

    reason: QueueReason
    position: int
    """In its pool's queue, from 1."""
    pool: str
    worker_id: str
    slots: int
    """What the pool's living processes can execute at once; 0 if no process is alive."""
    busy: int
    """Slots that execute a run."""
    of_user: int
    """Runs of its user that are published or running."""
    of_worker: int
    """Runs of its worker that are published or running."""
    not_before: datetime | None
    """When its backoff is over; None if it is not in backoff."""
    retry_after: float | None
    """Seconds until then, by the clock of the database."""


def explain_wait(c: Connection, run: Run, lease: float, per_user: int = 0) -> Wait | None:
    """What a queued run waits for; None for any other run. ``per_user`` as for :func:`claim_for_publish`."""
    if run.status is not RunStatus.QUEUED:
        return None
    room = _capacity(c, run.pool, lease)
    facts = c.execute(_facts(run)).one()
    position = _position(c, run, room.published)
    return Wait(
        reason=_reason(run, room, facts, position, per_user),
        position=position,
        pool=run.pool,
        worker_id=run.worker_id,
        slots=room.slots,
        busy=facts.busy,
        of_user=facts.of_user,
        of_worker=facts.of_worker,
        not_before=facts.not_before if facts.later else None,
        retry_after=(facts.not_before - facts.clock).total_seconds() if facts.later else None,
    )


def _reason(run: Run, room: Capacity, facts: sa.Row[Any], position: int, per_user: int) -> QueueReason:
    limit = room.limits.get(run.worker_id, 0)
    if facts.later and run.last_failure is not None:
        return QueueReason.BACKOFF
    if room.refused:
        return QueueReason.QUEUE_REFUSED
    if not room.slots:
        return QueueReason.POOL_NOT_SEEN
    if run.worker_id not in room.workers:
        return QueueReason.WORKER_NOT_SEEN
    if facts.later:
        return QueueReason.BACKOFF
    if not run.published_at and 0 < per_user <= facts.of_user:
        return QueueReason.USER_LIMIT
    if not run.published_at and 0 < limit <= facts.of_worker:
        return QueueReason.WORKER_LIMIT
    if facts.busy + position > room.slots:
        return QueueReason.AHEAD
    return QueueReason.STARTING


def _capacity(c: Connection, pool: str, lease: float) -> Capacity:
    return capacity_of(c.execute(CAPACITY, {"pool": pool, "lease": -lease}).all())


def _next(c: Connection, pool: str, capacity: Capacity, per_user: int) -> list[str]:
    """The runs whose turn it is, at most what there is room for."""
    left = _left(c, capacity.limits)
    full = [worker_id for worker_id, n in left.items() if n <= 0]
    eligible = (_not_held_back(), *((runs.c.worker_id.not_in(full),) if full else ()))
    turns = _turns(_waiting(c, pool, capacity.free, eligible), pool, per_user)
    if left:
        # Of those that a worker may still start, the first as fairness serves them.
        within = sa.func.row_number().over(partition_by=turns.c.worker_id, order_by=_in_turn(turns))
        turns = sa.select(turns, within.label("within")).subquery()
        permitted = sa.case(left, value=turns.c.worker_id, else_=capacity.free)
        chosen = sa.select(turns.c.id).where(turns.c.within <= permitted)
    else:
        chosen = sa.select(turns.c.id)
    return list(c.execute(chosen.order_by(*_in_turn(turns)).limit(capacity.free)).scalars())


def _mark(c: Connection, pool: str, run_ids: Sequence[str]) -> list[Ticket]:
    taken = (
        runs.update()
        .where(runs.c.id.in_(run_ids), runs.c.status == "queued", _UNPUBLISHED)
        .values(published_at=now())
        .returning(runs.c.id, runs.c.worker_id, runs.c.attempt)
    )
    rows = {row.id: row for row in c.execute(taken)} if run_ids else {}
    ordered = [rows[run_id] for run_id in run_ids if run_id in rows]
    return [Ticket(row.id, pool, row.worker_id, row.attempt + 1) for row in ordered]


def _left(c: Connection, limits: Mapping[str, int]) -> dict[str, int]:
    """How many more runs of each worker that has a limit may be published."""
    if not limits:
        return {}
    held = _under_way(runs.c.worker_id.in_(list(limits)))
    counted = c.execute(sa.select(held.c.worker_id, _count(held)).group_by(held.c.worker_id))
    under_way = {row[0]: row[1] for row in counted}
    return {worker_id: limit - under_way.get(worker_id, 0) for worker_id, limit in limits.items()}


def _waiting(c: Connection, pool: str, count: int, eligible: Sequence[Any]) -> Any:
    """Waiting runs of each user with their positions: enough of them to choose ``count`` in all."""
    if c.dialect.name == "postgresql":
        users = list(c.execute(_USERS, {"pool": pool}).scalars())
        if len(users) <= _FEW:
            return _first_of(users, pool, count, eligible)
    return _numbered(pool, eligible)


def _numbered(pool: str, eligible: Sequence[Any] = ()) -> Any:
    """All waiting runs of a pool, each with its position among those of its user."""
    position = sa.func.row_number().over(partition_by=runs.c.user_id, order_by=_ORDER).label("position")
    return (
        sa.select(*_WAITING, position)
        .where(IS_QUEUED, ~IS_CALL, _UNPUBLISHED, runs.c.pool == pool, *eligible)
        .subquery()
    )


def _first_of(users: Sequence[str], pool: str, count: int, eligible: Sequence[Any]) -> Any:
    """Like :func:`_numbered` for these users, and of each only the first ``count`` runs, by index."""
    ids = sa.func.unnest(sa.cast(list(users), ARRAY(Id)))
    waiting = ids.table_valued(sa.column("user_id", Id), name="waiting").render_derived()
    position = sa.func.row_number().over(order_by=_ORDER).label("position")
    first = (
        sa.select(*_WAITING, position)
        .where(
            IS_QUEUED,
            ~IS_CALL,
            _UNPUBLISHED,
            runs.c.pool == pool,
            runs.c.user_id == waiting.c.user_id,
            *eligible,
        )
        .order_by(*_ORDER)
        .limit(count)
        .lateral("first")
    )
    return sa.select(first).select_from(waiting.join(first, sa.true())).subquery()


def _turns(waiting: Any, pool: str, per_user: int = 0) -> Any:
    """Waiting runs with their turns, without those beyond the limit of their user."""
    held = _under_way(*(() if per_user else (runs.c.pool == pool,)))
    counted = (
        sa.select(
            held.c.user_id,
            _count(held, held.c.pool == pool).label("here"),
            _count(held).label("anywhere"),
        )
        .group_by(held.c.user_id)
        .subquery()
    )
    turn = (sa.func.coalesce(counted.c.here, 0) + waiting.c.position).label("turn")
    query = sa.select(waiting.c.id, waiting.c.worker_id, waiting.c.created_at, turn).outerjoin(
        counted, counted.c.user_id == waiting.c.user_id
    )
    if per_user:
        query = query.where(sa.func.coalesce(counted.c.anywhere, 0) + waiting.c.position <= per_user)
    return query.subquery()


def _in_turn(turns: Any) -> tuple[Any, ...]:
    """What runs are published in the order of: their turn, and of one turn the oldest first."""
    return turns.c.turn, turns.c.created_at, turns.c.id


def _under_way(*which: Any) -> Any:
    """Runs that are running, or published."""
    columns = sa.select(
        runs.c.user_id, runs.c.worker_id, runs.c.pool, runs.c.call_id, is_at_work().label("at_work")
    )
    published = sa.select(
        runs.c.user_id, runs.c.worker_id, runs.c.pool, runs.c.call_id, sa.true().label("at_work")
    )
    return sa.union_all(
        columns.where(IS_RUNNING, *which), published.where(IS_QUEUED, ~_UNPUBLISHED, *which)
    ).subquery()


def _count(held: Any = None, *which: Any) -> Any:
    """How many of these runs count where there is a limit: those that are no sub-runs, or those at work.

    ``held``: of :func:`_under_way`; None for the table of runs.
    """
    call_id, at_work = (runs.c.call_id, is_at_work()) if held is None else (held.c.call_id, held.c.at_work)
    callers = sa.func.count().filter(call_id.is_(None), *which)
    busy = sa.func.count().filter(at_work, *which)
    return sa.case((callers > busy, callers), else_=busy)


def _facts(run: Run) -> Any:
    of_user, of_worker = (
        _under_way(runs.c.user_id == run.user_id),
        _under_way(runs.c.worker_id == run.worker_id),
    )
    running = sa.select(_count()).where(_IS_HELD, runs.c.pool == run.pool)
    return sa.select(
        runs.c.not_before,
        now().label("clock"),
        sa.func.coalesce(runs.c.not_before > now(), sa.false()).label("later"),
        running.scalar_subquery().label("busy"),
        sa.select(_count(of_user)).scalar_subquery().label("of_user"),
        sa.select(_count(of_worker)).scalar_subquery().label("of_worker"),
    ).where(runs.c.id == run.id)


def _position(c: Connection, run: Run, published: int) -> int:
    """The position of a queued run in its pool, from 1. Backoff and limits do not count."""
    if run.call_id is not None:
        return _position_of_call(c, run)
    if run.published_at:
        own_position = (sa.literal(run.published_at, runs.c.published_at.type), sa.literal(run.id, Id))
        earlier = sa.tuple_(runs.c.published_at, runs.c.id) < sa.tuple_(*own_position)
        before = sa.select(sa.func.count()).where(IS_QUEUED, ~IS_CALL, runs.c.pool == run.pool, earlier)
        return int(c.execute(before).scalar_one()) + 1
    turns = sa.select(_turns(_numbered(run.pool), run.pool)).cte("turns")
    own = sa.select(turns).where(turns.c.id == run.id).subquery()
    earlier = sa.tuple_(*_in_turn(turns)) < sa.tuple_(*_in_turn(own))
    before = sa.select(sa.func.count()).select_from(turns.join(own, earlier))
    return published + int(c.execute(before).scalar_one()) + 1


def _position_of_call(c: Connection, run: Run) -> int:
    """The same of a sub-run, among those of its pool, in the order in which they are taken."""
    before = (
        (-runs.c.priority, sa.literal(-run.priority)),
        (-runs.c.call_depth, sa.literal(-run.call_depth)),
        (runs.c.created_at, sa.literal(run.created_at, runs.c.created_at.type)),
        (runs.c.id, sa.literal(run.id, Id)),
    )
    earlier = sa.tuple_(*(of for of, _ in before)) < sa.tuple_(*(own for _, own in before))
    query = sa.select(sa.func.count()).where(IS_QUEUED, IS_CALL, runs.c.pool == run.pool, earlier)
    return int(c.execute(query).scalar_one()) + 1


def _not_held_back() -> Any:
    return sa.or_(runs.c.not_before.is_(None), runs.c.not_before <= now())


_POOL = sa.bindparam("pool", type_=sa.Text)
_SEEN = pools.c.seen_at > now(sa.bindparam("lease", type_=sa.Float))
_ALIVE = (pools.c.name == _POOL, _SEEN)
_UNPUBLISHED = runs.c.published_at.is_(None)
_WAITING = (runs.c.id, runs.c.user_id, runs.c.worker_id, runs.c.created_at)
_ORDER = (runs.c.priority.desc(), runs.c.created_at, runs.c.id)
_PUBLISHED = (
    sa.select(sa.func.count())
    .where(IS_QUEUED, ~IS_CALL, ~_UNPUBLISHED, runs.c.pool == _POOL)
    .scalar_subquery()
)
_IS_HELD = sa.or_(IS_RUNNING, sa.and_(IS_QUEUED, ~_UNPUBLISHED, IS_CALL))
"""That a process executes the run, or is about to execute the sub-run."""
_WAITS = sa.exists().where(IS_QUEUED, ~IS_CALL, _UNPUBLISHED, runs.c.pool == _POOL, _not_held_back())
_LOOK = sa.select(
    sa.select(sa.func.count())
    .where(IS_QUEUED, runs.c.user_id == sa.bindparam("user", type_=Id))
    .scalar_subquery()
    .label("of_user"),
    sa.select(sa.func.count()).where(IS_QUEUED, runs.c.pool == _POOL).scalar_subquery().label("of_pool"),
    _PUBLISHED.label("published"),
    _WAITS.label("waiting"),
    sa.select(sa.func.coalesce(sa.func.sum(pools.c.slots), 0))
    .where(*_ALIVE, pools.c.queue_refusal.is_(None))
    .scalar_subquery()
    .label("slots"),
)
CAPACITY = sa.select(
    _PUBLISHED.label("published"),
    _WAITS.label("waiting"),
    pools.c.slots,
    pools.c.workers,
    pools.c.queue_refusal,
).where(*_ALIVE)
_LOST = (IS_QUEUED, runs.c.published_at < now(sa.bindparam("grace", type_=sa.Float)))
_ARE_UNCLAIMED = sa.select(sa.exists().where(*_LOST))


def _forget_unclaimed() -> Any:
    busy = sa.select(runs.c.pool, _count().label("n")).where(_IS_HELD).group_by(runs.c.pool).subquery()
    free = (
        sa.select(pools.c.name)
        .outerjoin(busy, busy.c.pool == pools.c.name)
        .where(_SEEN)
        .group_by(pools.c.name, busy.c.n)
        .having(sa.func.sum(pools.c.slots) > sa.func.coalesce(busy.c.n, 0))
    )
    return runs.update().where(*_LOST, sa.or_(IS_CALL, runs.c.pool.in_(free))).values(published_at=None)


_FORGET_UNCLAIMED = _forget_unclaimed()


def _users() -> Any:
    """Users with waiting runs, at most :data:`_FEW` and one: a loose index scan, by a recursive query."""
    waiting = (IS_QUEUED, ~IS_CALL, _UNPUBLISHED, runs.c.pool == _POOL)
    first = sa.select(runs.c.user_id).where(*waiting).order_by(runs.c.user_id).limit(1).subquery()
    walk = sa.select(first.c.user_id).cte("walk", recursive=True)
    following = (
        sa.select(runs.c.user_id)
        .where(*waiting, runs.c.user_id > walk.c.user_id)
        .order_by(runs.c.user_id)
        .limit(1)
        .scalar_subquery()
    )
    walk = walk.union_all(sa.select(following).where(walk.c.user_id.is_not(None)))
    return sa.select(walk.c.user_id).where(walk.c.user_id.is_not(None)).limit(_FEW + 1)


_USERS = _users()
