"""The fence of an attempt: what it writes counts only for as long as it is the one that runs."""

from __future__ import annotations

from typing import Any

from runtime.model import Run
from runtime.store.tables import IS_RUNNING, runs


def guarded(statement: Any, run: Run) -> Any:
    """``statement`` on runs, for as long as this attempt is the one that runs."""
    return statement.where(runs.c.id == run.id, runs.c.attempt == run.attempt, IS_RUNNING)
