"""Whether a worker can run now, as its pools have reported it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from runtime.errors import StoreUnavailable
from runtime.model import Pool
from runtime.registry import Worker
from runtime.store import Connection, Database, backlog, pools

_MAX_AGE = 1.0
"""Seconds for which what was read of the pools is used."""


@dataclass(frozen=True, slots=True)
class WorkerAvailability:
    """Whether one worker can run."""

    available: bool
    reason: str | None
    """Why it is not available, as a sentence for users; None if it is."""
    refused: bool
    """Whether a run would be refused. If only its pool is missing, a run waits instead."""
    slots: int
    busy: int


class Availability:
    """Reads the pools' reports at most once a second, however many requests there are."""

    def __init__(self, database: Database, lease: float) -> None:
        """``lease``: seconds within which a pool must have reported itself."""
        self._database = database
        self._lease = lease
        self._pools: list[Pool] = []
        self._queued: dict[str, int] = {}
        self._read_at = float("-inf")

    def refresh(self) -> None:
        """Read the reports again if they are too old. Not to be called inside a transaction.

        While one request reads, the others use what was read before.
        """
        before = self._read_at
        if time.monotonic() - before <= _MAX_AGE:
            return
        if self._pools:
            self._read_at = time.monotonic()
        try:
            self._pools, self._queued = self._database.read(self._read)
            self._read_at = time.monotonic()
        except StoreUnavailable:
            self._read_at = before
            raise

    def near_capacity(self, pool: str, count: int, bound: int) -> bool:
        """Whether ``count`` more queued runs may exceed ``bound``, so that they must be counted.

        It is an estimate: the length that was last read, at most a second ago, and what this
        process has added since. A tenth of ``bound`` is left for what other processes have added.
        """
        self._queued[pool] = self._queued.get(pool, 0) + count
        return self._queued[pool] > 0.9 * bound

    def _read(self, c: Connection) -> tuple[list[Pool], dict[str, int]]:
        return pools.listing(c, self._lease), backlog.lengths(c)

    def is_in_a_pool(self, worker_id: str) -> bool:
        """Whether a pool process that is alive has a worker with that id."""
        return any(pool.alive and worker_id in pool.workers for pool in self._pools)

    def of(self, worker: Worker) -> WorkerAvailability:
        """Whether ``worker`` can run, by the reports that were last read."""
        alive = [pool for pool in self._pools if pool.name == worker.pool and pool.alive]
        slots, busy = sum(pool.slots for pool in alive), sum(pool.busy for pool in alive)
        reports = [pool.workers[worker.id] for pool in alive if worker.id in pool.workers]
        # A secret is set where the pool runs; this process's environment counts only without a pool.
        reasons = [report["reason"] for report in reports] or [worker.unavailable(os.environ)]
        blocked = all(reasons)
        if blocked and (alive or not worker.enabled):
            return WorkerAvailability(False, reasons[0], True, slots, busy)
        if not alive:
            reason = reasons[0] or f"No pool named {worker.pool!r} is running; a run waits until one is."
            return WorkerAvailability(False, reason, blocked, slots, busy)
        return WorkerAvailability(True, None, False, slots, busy)
