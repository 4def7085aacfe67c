"""What is below a run: its sub-runs, and theirs. They end with it, in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.model import RunStatus
from runtime.store.tables import IS_CALL, Id, now, runs

_AT_ONCE = runs.c.status.in_([RunStatus.QUEUED, RunStatus.WAITING])
CANCEL = (
    # One statement: a run that goes back to the queue, or to its user, between two would slip through.
    runs.update()
    .where(sa.or_(_AT_ONCE, runs.c.status == RunStatus.RUNNING))
    .values(
        status=sa.case((_AT_ONCE, RunStatus.CANCELLED), else_=runs.c.status),
        # An earlier attempt may be alive somewhere; it must not write any more.
        attempt=sa.case((sa.and_(_AT_ONCE, runs.c.attempt > 0), runs.c.attempt + 1), else_=runs.c.attempt),
        cancel_requested_at=sa.func.coalesce(runs.c.cancel_requested_at, now()),
        finished_at=sa.case((_AT_ONCE, now())),
    )
)
"""Ends runs that hold no process, and asks running ones to end."""


def cancel(c: Connection, run_ids: Sequence[str], *returning: Any) -> Sequence[sa.Row[Any]]:
    """:data:`CANCEL` all that is below these runs, which end or are asked to, and are locked.

    A sub-run that is made meanwhile is not missed: to make it locks its parent, and so it is
    made before this looks, or refused. Where its parent is below as well and still runs, that is
    asked to end now, and cancels what is below it when it does.
    """
    # From the top down, as everybody locks them, so that no two wait for each other.
    found = sa.select(runs.c.id).where(runs.c.id.in_(sa.select(_BELOW.c.id)))
    locked = found.order_by(runs.c.call_depth, runs.c.id).with_for_update(key_share=True)
    ids = list(c.execute(locked, {"above": list(run_ids)}).scalars())
    if not ids:
        return []
    return c.execute(CANCEL.where(runs.c.id.in_(ids)).returning(*returning or (runs.c.id,))).all()


def _below() -> sa.CTE:
    """The runs below some that have not ended, at any depth."""
    open_calls = (IS_CALL, runs.c.finished_at.is_(None))
    above = sa.bindparam("above", expanding=True, type_=Id)
    walk = (
        sa.select(runs.c.id).where(runs.c.parent_run_id.in_(above), *open_calls).cte("below", recursive=True)
    )
    called = runs.alias("called")
    return walk.union_all(
        sa.select(called.c.id)
        .join(walk, called.c.parent_run_id == walk.c.id)
        .where(called.c.call_id.is_not(None), called.c.finished_at.is_(None))
    )


_BELOW = _below()
