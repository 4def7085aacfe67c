"""Figures: what the metrics say of all runs, the same whichever web process is asked.

To find them takes a look at every run that there is. So one process does that at a time, and
seldom, and the others use what it has found, which is kept in the database.

What only grows must never be seen to fall: Prometheus would take that for a restart, and count
all of it again. So the figures of runs that are erased with their thread are kept, and added;
and times are summed up as integers, whose sum does not depend on their order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.store.dialects import is_within, lock_transaction, microseconds, upsert
from runtime.store.tables import figures, now, runs

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
"""Seconds that the histograms count up to. Whoever changes them empties the table in a migration."""

_PATIENCE = 60.0
"""Seconds after which somebody else may find the figures."""
_FOUND, _ERASED = "found", "erased"
_LOCK = 0x666967
"""Of the advisory lock under which the figures of erased runs change."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """How long something took."""

    microseconds: int = 0
    """All of it together."""
    within: Sequence[int] = (0,) * (len(BOUNDS) + 1)
    """How many took at most as long as each of the bounds, and how many there are."""

    def __add__(self, other: Histogram) -> Histogram:
        within = tuple(a + b for a, b in zip(self.within, other.within, strict=True))
        return Histogram(self.microseconds + other.microseconds, within)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the runs of a worker in a pool, or of several of both; imported runs do not count."""

    statuses: Mapping[str, int] = field(default_factory=dict)
    """How many have each status: the only figure that may fall."""
    attempts: int = 0
    reaps: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    """How many ended with an error of each code."""
    waits: Histogram = Histogram()
    """From the moment that each was accepted to its first start."""
    durations: Histogram = Histogram()
    """From the first start of each that has ended to its end."""
    first_deltas: Histogram = Histogram()
    """From the moment that each was accepted to its first delta."""

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            dict(Counter(self.statuses) + Counter(other.statuses)),
            self.attempts + other.attempts,
            self.reaps + other.reaps,
            dict(Counter(self.errors) + Counter(other.errors)),
            self.waits + other.waits,
            self.durations + other.durations,
            self.first_deltas + other.first_deltas,
        )


ByWorker = dict[tuple[str, str], Figures]
"""By worker and pool."""


class Kept(NamedTuple):
    """Figures that somebody has found."""

    figures: ByWorker
    old: bool
    """Whether it is time to find them again."""


def kept(c: Connection) -> Kept:
    """What was found last; none where nobody has."""
    row = c.execute(_KEPT, {"name": _FOUND}).one_or_none()
    return Kept(_decoded(row.value), bool(row.old)) if row else Kept({}, True)


def claim(c: Connection, claimant: str) -> bool:
    """Whether the claimant is to find the figures. If it does not, another may after a while."""
    values = {"name": _FOUND, "value": [], "claimant": claimant}
    return c.execute(_CLAIM[c.dialect.name], values).one_or_none() is not None


def find(c: Connection) -> ByWorker:
    """The figures as they are. In a snapshot, so that a run is in one sum or in the other."""
    return _sum([*_of_runs(c).items(), *_erased(c).items()])


def keep(c: Connection, claimant: str, found: ByWorker, seconds: float) -> None:
    """Keep them for so many seconds, unless somebody else has claimed to find them since."""
    changed = figures.update().where(figures.c.name == _FOUND, figures.c.claimant == claimant)
    c.execute(changed.values(value=_encoded(found), good_until=now(seconds)))


def erase(c: Connection, thread_ids: Sequence[str]) -> None:
    """Keep the figures of all runs of these threads, which are erased in this transaction."""
    theirs = runs.c.thread_id.in_(thread_ids)
    c.execute(sa.select(runs.c.id).where(theirs).with_for_update())
    gone = {key: replace(of_worker, statuses={}) for key, of_worker in _of_runs(c, theirs).items()}
    if gone:
        lock_transaction(c, _LOCK)
        value = _encoded(_sum([*_erased(c).items(), *gone.items()]))
        c.execute(_KEEP_ERASED[c.dialect.name], {"name": _ERASED, "value": value})


def _of_runs(c: Connection, *which: sa.ColumnElement[bool]) -> ByWorker:
    found = c.execute(_COUNTED.where(*which))
    return _sum(((row.worker_id, row.pool), _figures(row)) for row in found)


def _figures(row: sa.Row[Any]) -> Figures:
    """Of a row that has those of the histograms after its first columns."""
    status, code, number, attempts, reaps, *timed = list(row)[2:]
    width = len(BOUNDS) + 2
    histograms = (timed[start : start + width] for start in range(0, len(timed), width))
    waits, durations, first_deltas = (Histogram(total or 0, tuple(within)) for total, *within in histograms)
    errors = {code: number} if code else {}
    return Figures({status: number}, attempts, reaps, errors, waits, durations, first_deltas)


def _erased(c: Connection) -> ByWorker:
    row = c.execute(_KEPT, {"name": _ERASED}).one_or_none()
    return _decoded(row.value) if row else {}


def _sum(found: Iterable[tuple[tuple[str, str], Figures]]) -> ByWorker:
    total: ByWorker = defaultdict(Figures)
    for key, of_worker in found:
        total[key] += of_worker
    return dict(total)


def _encoded(found: ByWorker) -> list[Any]:
    return [[*key, asdict(of_worker)] for key, of_worker in found.items()]


def _decoded(value: Iterable[tuple[str, str, dict[str, Any]]]) -> ByWorker:
    found = {}
    for worker_id, pool, fields in value:
        timed = {name: fields[name] for name in _TIMED}
        histograms = {name: Histogram(of["microseconds"], tuple(of["within"])) for name, of in timed.items()}
        found[worker_id, pool] = Figures(**{**fields, **histograms})
    return found


def _timed(since: sa.Column[Any], until: sa.Column[Any]) -> Iterable[Any]:
    """The columns of a histogram."""
    yield microseconds(since, until)
    for bound in BOUNDS:
        yield sa.func.count().filter(is_within(since, until, bound))
    yield sa.func.count().filter(since.is_not(None), until.is_not(None))


_TIMED = {
    "waits": (runs.c.created_at, runs.c.started_at),
    "durations": (runs.c.started_at, runs.c.finished_at),
    "first_deltas": (runs.c.created_at, runs.c.first_delta_at),
}
"""By the name of a histogram, the times that it is about."""
_GROUP = runs.c.worker_id, runs.c.pool, runs.c.status, runs.c.error["code"].as_string()
_COUNTED = (
    sa.select(
        *_GROUP,
        sa.func.count(),
        sa.func.sum(runs.c.attempt),
        sa.func.sum(runs.c.reaps),
        *(column for times in _TIMED.values() for column in _timed(*times)),
    )
    .where(~runs.c.imported)
    .group_by(*_GROUP)
)
_IS_OLD = figures.c.good_until <= now()
_KEPT = sa.select(figures.c.value, _IS_OLD.label("old")).where(figures.c.name == sa.bindparam("name"))
_CLAIMED = upsert(figures, "name", ("claimant", "good_until"), where=_IS_OLD, good_until=now(_PATIENCE))
_CLAIM = {dialect: claimed.returning(figures.c.name) for dialect, claimed in _CLAIMED.items()}
_KEEP_ERASED = upsert(figures, "name", ("value",))
