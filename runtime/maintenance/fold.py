"""Fold: what an earlier version stored is made fit for the search, a little in each round."""

from __future__ import annotations

import time

from runtime.store import Database, unfolded

_ROLL_OUT = 600.0
"""Seconds after the start in which processes of the version before may still store texts unfolded."""
_PAUSE = 600.0
"""Seconds until it is looked again where nothing was left."""
_BUSY = 0.2
"""Seconds of a round."""


class Fold:
    """Folds the texts that are not, for as long as there are any."""

    def __init__(self, database: Database, roll_out: float = _ROLL_OUT) -> None:
        self._database = database
        self._due_at = time.monotonic() + roll_out

    def fold_earlier(self) -> None:
        """Fold for a moment, if it is time. Each transaction is small."""
        until = time.monotonic() + _BUSY
        while self._due_at <= time.monotonic() < until:
            if not self._database.write(unfolded.fold_some):
                self._due_at = time.monotonic() + _PAUSE
