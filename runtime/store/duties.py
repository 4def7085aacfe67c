"""Duties: when each duty of the processes of this installation last succeeded, as they report it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.store.dialects import upsert
from runtime.store.tables import duties, now

POOL, REAPER = "pool", "reaper"
"""Kinds of processes."""
FORGET_AFTER = 3600
"""Seconds after which a process that reports no more is forgotten."""


@dataclass(frozen=True, slots=True)
class DutyAge:
    """How long ago the processes of one kind have done a duty: the one whose success is the longest ago."""

    kind: str
    pool: str
    """Empty for a reaper."""
    name: str
    seconds: float


def report(c: Connection, process: str, kind: str, pool: str, ages: Mapping[str, float]) -> None:
    """``ages``: the seconds since the last success of each duty of this process."""
    values = {"process": process, "kind": kind, "pool": pool, "ages": dict(ages)}
    c.execute(_REPORT[c.dialect.name], values)


def withdraw(c: Connection, process: str) -> None:
    """This process ends."""
    c.execute(duties.delete().where(duties.c.process == process))


def oldest(c: Connection, lease: float) -> list[DutyAge]:
    """The age of each duty. Processes count that have reported within ``lease`` seconds."""
    query = sa.select(duties.c.kind, duties.c.pool, duties.c.ages).where(duties.c.seen_at > now(-lease))
    found: dict[tuple[str, str, str], float] = {}
    for kind, pool, ages in c.execute(query):
        for name, age in ages.items():
            found[kind, pool, name] = max(age, found.get((kind, pool, name), 0.0))
    return [DutyAge(*key, seconds) for key, seconds in sorted(found.items())]


def forget(c: Connection) -> None:
    """Drop what has not reported for an hour."""
    c.execute(duties.delete().where(duties.c.seen_at < now(-FORGET_AFTER)))


_REPORT = upsert(duties, "process", ("ages", "seen_at"), seen_at=now())
