"""What follows from a change of a run, as tasks of the outbox.

Whoever changes a run notes it in the same transaction, so that nothing is missed, whichever process
dies behind the commit. What follows from few runs costs the others no statement.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from runtime.model import Run
from runtime.store import turns

SUM_UP: Final = "summary"
"""The kind of the task to sum up what the window of a run has left out."""


def note(c: Connection, *changed: Run) -> None:
    """These runs have ended, wait for their user, or go on."""
    for run in changed:
        if run.session_id is not None:
            turns.note(c, run)
