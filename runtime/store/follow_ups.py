"""What follows from a change of a run, as tasks of the outbox.

Whoever changes a run notes it in the same transaction, so that nothing is missed, whichever process
dies behind the commit. What follows from few runs costs the others no statement.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from runtime.model import Run, RunStatus
from runtime.store import outbox, turns

SUM_UP: Final = "summary"
"""The kind of the task to sum up what the window of a run has left out."""

NAME: Final = "title"
"""The kind of the task to name a thread that has its first answer."""


def note(c: Connection, *changed: Run) -> None:
    """These runs have ended, wait for their user, or go on."""
    for run in changed:
        if run.session_id is not None:
            turns.note(c, run)
        if run.finished_at is not None and leaves_out(run):
            outbox.put(c, SUM_UP, run.output_state_id, {"run_id": run.id})
        if run.awaited_by is not None and has_stopped(run):
            outbox.wake(c, run.awaited_by)


def has_more(run: Run) -> bool:
    """Whether more follows from the end of a run than that its session is told."""
    return run.awaited_by is not None or leaves_out(run)


def leaves_out(run: Run) -> bool:
    """Whether a worker is to sum up what the window of a run has left out.

    Not of a sub-run, whose thread no other run goes on with.
    """
    window = run.window
    return window is not None and "left_out" in window and bool(window.get("summary")) and not run.call_id


def has_stopped(run: Run) -> bool:
    """Whether a run that nobody reads has come to its end: one that asks something gets no answer."""
    return run.finished_at is not None or run.status is RunStatus.WAITING
