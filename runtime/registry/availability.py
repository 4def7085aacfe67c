"""WorkerAvailability: whether a worker can run now, as its pools have reported it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from runtime.errors import StoreUnavailable
from runtime.model import Pool
from runtime.registry import Worker
from runtime.store import Connection, Database, backlog, pools

_FRESH = 1.0
"""Seconds for which a look at the pools is good."""


@dataclass(frozen=True, slots=True)
class WorkerAvailability:
    """How a worker stands."""

    available: bool
    reason: str | None
    """Why it is not available, as a sentence for users."""
    refused: bool
    """Whether a run would be refused. Where only its pool is missing, it waits."""
    slots: int
    busy: int


class Availability:
    """Looks at the pools at most once a second, however many requests ask."""

    def __init__(self, database: Database, lease: float) -> None:
        """``lease``: seconds within which a pool must have reported itself."""
        self._database = database
        self._lease = lease
        self._pools: list[Pool] = []
        self._queued: dict[str, int] = {}
        self._seen = float("-inf")

    def refresh(self) -> None:
        """Look again if the last look is too old. Not inside a transaction.

        While one request looks, the others go by the last look.
        """
        before = self._seen
        if time.monotonic() - before <= _FRESH:
            return
        if self._pools:
            self._seen = time.monotonic()
        try:
            self._pools, self._queued = self._database.read(self._look)
            self._seen = time.monotonic()
        except StoreUnavailable:
            self._seen = before
            raise

    def near_capacity(self, pool: str, count: int, bound: int) -> bool:
        """Whether ``count`` more queued runs may exceed ``bound``, so that they must be counted.

        By the last look, which is at most a second old, and by what was asked of us since;
        a tenth is left for what was asked of others.
        """
        self._queued[pool] = self._queued.get(pool, 0) + count
        return self._queued[pool] > 0.9 * bound

    def _look(self, c: Connection) -> tuple[list[Pool], dict[str, int]]:
        return pools.listing(c, self._lease), backlog.lengths(c)

    def of(self, worker: Worker) -> WorkerAvailability:
        """How ``worker`` stands, by the last look."""
        alive = [pool for pool in self._pools if pool.name == worker.pool and pool.alive]
        slots, busy = sum(pool.slots for pool in alive), sum(pool.busy for pool in alive)
        reports = [pool.workers[worker.id] for pool in alive if worker.id in pool.workers]
        # A secret is set where the pool runs; only without a pool do we look around here.
        reasons = [report["reason"] for report in reports] or [worker.unavailable(os.environ)]
        blocked = all(reasons)
        if blocked and (alive or not worker.enabled):
            return WorkerAvailability(False, reasons[0], True, slots, busy)
        if not alive:
            reason = reasons[0] or f"No pool named {worker.pool!r} is running; a run waits until one is."
            return WorkerAvailability(False, reason, blocked, slots, busy)
        return WorkerAvailability(True, None, False, slots, busy)
