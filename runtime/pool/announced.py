"""Announced ends: runs whose end is in the event log, to be marked as announced in the database.

The mark tells the reaper that nothing is missing. It can wait, so all ends of half a second
share one statement.
"""

from __future__ import annotations

from runtime.errors import StoreUnavailable
from runtime.store import Database, recovery


class AnnouncedEnds:
    """The runs of this pool process that are not marked yet."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._run_ids: list[str] = []

    def add(self, run_id: str) -> None:
        """The end of this run is in the event log."""
        self._run_ids.append(run_id)

    def mark(self) -> None:
        """Mark all that were added. Where the database is away they are kept for the next time."""
        run_ids, self._run_ids = self._run_ids, []
        if not run_ids:
            return
        try:
            self._database.write(recovery.mark_announced, run_ids)
        except StoreUnavailable:
            self._run_ids = run_ids + self._run_ids
