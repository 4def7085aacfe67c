"""Titles by a worker: which threads want one, and what became of those that were asked for.

A title is made by a run on a thread of its own, which is in no list and names the
thread that it is for. Once its run has ended it is deleted like any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.model import Run, RunStatus, Thread
from runtime.store import runs as all_runs
from runtime.store import threads as all_threads
from runtime.store.folding import stored
from runtime.store.tables import now, runs, threads

_WANTED_SECONDS = 86400
_AT_ONCE = 20
_LOOKED_AT = 5000
"""Threads that are looked at for an answer, however many wait for theirs in vain."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A thread that has its first answer and wants a title."""

    thread: Thread
    answer_id: str
    """The state of that answer."""


@dataclass(frozen=True, slots=True)
class Made:
    """A title's own thread, and its run, which has ended or waits for an answer that nobody gives."""

    helper: Thread
    subject_id: str
    """The thread that the title is for."""
    run: Run


def wanted(c: Connection) -> list[Wanted]:
    """Some threads of the last day that want a title and have an answer, last updated first."""
    found = [all_threads.record(row) for row in c.execute(_WANTED)]
    return [Wanted(thread, c.execute(_FIRST_ANSWER, {"of": thread.id}).scalar_one()) for thread in found]


def asked_for(c: Connection, thread_id: str) -> None:
    """A run makes the thread's title, or none will."""
    c.execute(threads.update().where(threads.c.id == thread_id).values(title_wanted=False))


def made(c: Connection) -> list[Made]:
    """Some of those whose runs have come to their end."""
    width = len(all_threads.COLUMNS)
    return [
        Made(all_threads.record(row[:width]), row[width], all_runs.record(row[width + 1 :]))
        for row in c.execute(_MADE)
    ]


def settle(c: Connection, one: Made, title: str) -> Thread | None:
    """Give the thread its ``title``, unless that is empty; the helper has done its work.

    None where the thread keeps what it has: somebody has named it meanwhile, or it is gone.
    """
    c.execute(threads.update().where(threads.c.id == one.helper.id).values(deleted_at=now()))
    if one.run.status is RunStatus.WAITING:
        all_runs.cancel(c, None, one.run.id)
    if not title:
        return None
    as_it_was = threads.c.title.is_not_distinct_from(one.helper.title)
    row = c.execute(
        threads.update()
        .where(threads.c.id == one.subject_id, threads.c.deleted_at.is_(None), as_it_was)
        .values(title=title, folded=stored(title))
        .returning(*all_threads.COLUMNS)
    ).one_or_none()
    return all_threads.record(row) if row else None


_ANSWERS = sa.and_(runs.c.thread_id == threads.c.id, runs.c.status == RunStatus.SUCCESS)
_WISHING = (
    sa.select(threads.c.id)
    .where(threads.c.title_wanted, threads.c.updated_at > now(-_WANTED_SECONDS))
    .order_by(threads.c.updated_at.desc())
    .limit(_LOOKED_AT)
)
_WANTED = (
    sa.select(*all_threads.COLUMNS)
    .where(threads.c.id.in_(_WISHING), threads.c.deleted_at.is_(None), sa.exists().where(_ANSWERS))
    .order_by(threads.c.updated_at.desc())
    .limit(_AT_ONCE)
)
_FIRST_ANSWER = (
    sa.select(runs.c.output_state_id)
    .where(runs.c.thread_id == sa.bindparam("of", type_=runs.c.id.type), runs.c.status == RunStatus.SUCCESS)
    .order_by(runs.c.created_at, runs.c.id)
    .limit(1)
)
_MADE = (
    sa.select(*all_threads.COLUMNS, threads.c.titles, *all_runs.COLUMNS)
    .join(runs, runs.c.thread_id == threads.c.id)
    .where(
        threads.c.titles.is_not(None),
        threads.c.deleted_at.is_(None),
        runs.c.finished_at.is_not(None) | (runs.c.status == RunStatus.WAITING),
    )
    .limit(_AT_ONCE)
)
