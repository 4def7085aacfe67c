"""What a run has used: tokens, calls, money, whatever its worker counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.model import Json, Run
from runtime.store.tables import IS_CALL, Id, runs

Usage = Mapping[str, Json]


def add(first: Usage | None, second: Usage | None) -> Usage | None:
    """Both together: numbers add up, also within objects; of anything else the second counts."""
    if not first or not second:
        return first or second
    return {**first, **{name: _sum(first.get(name), value) for name, value in second.items()}}


def below(c: Connection, above: Sequence[Run]) -> dict[str, Usage]:
    """What all sub-runs below each of these runs have used together, at any depth.

    Without the runs below which nothing was used.
    """
    callers = [run.id for run in above if run.calls]
    used: dict[str, Usage] = {}
    for row in c.execute(_BELOW, {"above": callers}) if callers else ():
        used[row.top] = add(used.get(row.top), row.usage) or {}
    return used


def _sum(first: Json, second: Json) -> Json:
    if isinstance(first, dict) and isinstance(second, dict):
        return add(first, second)
    if _is_number(first) and _is_number(second):
        return first + second
    return second


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _below() -> sa.Select[Any]:
    """The usage of each sub-run, and the run above it that was asked for."""
    walk = (
        sa.select(runs.c.parent_run_id.label("top"), runs.c.id)
        .where(runs.c.parent_run_id.in_(sa.bindparam("above", expanding=True, type_=Id)), IS_CALL)
        .cte("below", recursive=True)
    )
    called = runs.alias("called")
    walk = walk.union_all(
        sa.select(walk.c.top, called.c.id)
        .join(walk, called.c.parent_run_id == walk.c.id)
        .where(called.c.call_id.is_not(None))
    )
    # In the order of their beginnings: of what is no number, the last one counts.
    return (
        sa.select(walk.c.top, runs.c.usage)
        .join(walk, runs.c.id == walk.c.id)
        .where(runs.c.usage.is_not(None))
        .order_by(runs.c.created_at, runs.c.id)
    )


_BELOW = _below()
