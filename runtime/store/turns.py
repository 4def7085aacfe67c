"""Turns: runs that a session has begun, whose changes are told to it by the outbox.

What a session does next follows from what has become of its turn. The task is written by the
transaction that changes the run, so no end, question or answer of a turn is missed.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from runtime.model import Run
from runtime.store import outbox

CHANGED: Final = "turn_changed"
"""The kind of the task to look at a session whose turn has changed."""


def note(c: Connection, turn: Run) -> None:
    """This run of a session has ended, waits for its user, or goes on."""
    outbox.put(c, *task(turn))


def task(run: Run) -> outbox.Own:
    """The task that a change leaves; ``run`` as it is since."""
    return CHANGED, f"{run.id}:{run.attempt}:{len(run.answers)}:{run.status}", {"run_id": run.id}
