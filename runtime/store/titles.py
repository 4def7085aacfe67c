"""Titles by a worker: which thread wants one, and what became of the run that makes it.

A title is made by a run on a helper thread, which is in no list and names the thread that it is for.
Once its run has ended it is deleted like any other.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.model import Run, RunStatus, Thread
from runtime.store import follow_ups, outbox
from runtime.store import runs as all_runs
from runtime.store import threads as all_threads
from runtime.store.folding import stored
from runtime.store.tables import now, runs, threads


@dataclass(frozen=True, slots=True)
class Wanted:
    """A thread that has its first answer and wants a title."""

    thread: Thread
    answer_id: str
    """The state of that answer."""
    age: float
    """Seconds since its last change."""


@dataclass(frozen=True, slots=True)
class Helper:
    """A title's own thread, and its run."""

    thread: Thread
    run: Run


def wanted(c: Connection, thread_id: str) -> Wanted | None:
    """The thread, if it wants a title and has an answer."""
    row = c.execute(_WANTED, {"of": thread_id}).one_or_none()
    if row is None:
        return None
    thread = all_threads.record(row)
    return Wanted(thread, row.answer_id, (row.clock - thread.updated_at).total_seconds())


def forgo(c: Connection, thread_id: str) -> None:
    """No worker is to name the thread any more."""
    c.execute(threads.update().where(threads.c.id == thread_id).values(title_wanted=False))


def helper(c: Connection, thread_id: str) -> Helper | None:
    """Where the title of a thread is being made, if it is."""
    task = outbox.name_of(follow_ups.NAME, thread_id)
    row = c.execute(_HELPER, {"of": thread_id, "task": task}).first()
    width = len(all_threads.COLUMNS)
    return Helper(all_threads.record(row), all_runs.record(row[width:])) if row else None


def settle(c: Connection, thread_id: str, helper: Helper, title: str) -> Thread | None:
    """Give the thread its ``title``, unless that is empty; the helper has done its work.

    None where the thread keeps what it has: somebody has named it meanwhile, or it is gone.
    """
    c.execute(threads.update().where(threads.c.id == helper.thread.id).values(deleted_at=now()))
    if helper.run.status is RunStatus.WAITING:
        all_runs.cancel(c, None, helper.run.id)
    forgo(c, thread_id)
    if not title:
        return None
    as_it_was = threads.c.title.is_not_distinct_from(helper.thread.title)
    row = c.execute(
        threads.update()
        .where(threads.c.id == thread_id, threads.c.deleted_at.is_(None), as_it_was)
        .values(title=title, folded=stored(title))
        .returning(*all_threads.COLUMNS)
    ).one_or_none()
    return all_threads.record(row) if row else None


_OF = sa.bindparam("of", type_=runs.c.id.type)
_FIRST_ANSWER = (
    sa.select(runs.c.output_state_id)
    .where(runs.c.thread_id == threads.c.id, runs.c.status == RunStatus.SUCCESS)
    .order_by(runs.c.created_at, runs.c.id)
    .limit(1)
    .correlate(threads)
    .scalar_subquery()
)
_WANTED = sa.select(*all_threads.COLUMNS, _FIRST_ANSWER.label("answer_id"), now().label("clock")).where(
    threads.c.id == _OF,
    threads.c.title_wanted,
    threads.c.deleted_at.is_(None),
    _FIRST_ANSWER.is_not(None),
)
_HELPER = (
    sa.select(*all_threads.COLUMNS, *all_runs.COLUMNS)
    .join(runs, runs.c.thread_id == threads.c.id)
    .where(
        threads.c.titles == _OF,
        threads.c.deleted_at.is_(None),
        runs.c.awaited_by == sa.bindparam("task", type_=sa.Text),
    )
)
