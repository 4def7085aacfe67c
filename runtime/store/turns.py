"""Turns: runs that a session has begun, whose changes are told to it by the outbox.

What a session does next follows from what has become of its turn. The task is written by the
transaction that changes the run, so no end, question or answer of a turn is missed.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.model import Run
from runtime.store import outbox, tables

CHANGED: Final = "turn_changed"
"""The kind of the task to look at a session whose turn has changed. Its key begins with the run's id."""
_ID_LENGTH: Final = 36
"""Characters of an id."""


def note(c: Connection, turn: Run) -> None:
    """This run of a session has ended, waits for its user, or goes on."""
    outbox.put(c, *task(turn))


def task(run: Run) -> outbox.Own:
    """The task that a change leaves; ``run`` as it is since."""
    return CHANGED, f"{run.id}:{run.attempt}:{len(run.answers)}:{run.status}", {"run_id": run.id}


def has_task(run_id: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Whether there is a task to look at the session of this turn, which nobody has given up.

    All such tasks are read once, and not once for each turn that is asked about.
    """
    task = tables.outbox.c
    turns = sa.select(_without_hyphens(sa.func.substr(task.key, 1, _ID_LENGTH)))
    live = turns.where(task.kind == CHANGED, task.dead_at.is_(None))
    return _without_hyphens(sa.cast(run_id, sa.Text)).in_(live)


def _without_hyphens(id: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """An id as SQLite stores it; a key has it as PostgreSQL and Python write it."""
    return sa.func.replace(id, "-", "")
