"""Cleanup: what has expired is deleted, every few minutes."""

from __future__ import annotations

import time

from runtime.duties import for_each
from runtime.services import Services
from runtime.store import Connection, duties, pools, requests, saved_values, threads, worker_versions

_INTERVAL = 600.0
"""Seconds between two cleanups."""


class Cleanup:
    """Deletes old idempotency keys, what ended runs have saved, processes that are gone, deleted threads."""

    def __init__(self, services: Services) -> None:
        self._database = services.database
        self._trash_days = services.settings.trash.days
        self._finished_at = float("-inf")

    def delete_expired(self) -> None:
        """Delete what has expired, if it is time. Threads go in small batches, one in each round."""
        if time.monotonic() - self._finished_at < _INTERVAL:
            return
        forgets = (
            requests.forget_old,
            saved_values.forget,
            pools.forget,
            duties.forget,
            worker_versions.forget_old,
        )
        for_each((*forgets, self._purge), self._database.write)

    def _purge(self, c: Connection) -> None:
        if not threads.purge(c, self._trash_days):
            self._finished_at = time.monotonic()
