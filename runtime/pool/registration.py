"""The registration: how a pool process reports in the database that it is alive, and what it can run."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from runtime.child.sandboxing import Sandboxing
from runtime.errors import StoreUnavailable
from runtime.model import Json
from runtime.queue.worker import QueueWorker
from runtime.registry import Worker
from runtime.store import Connection, Database, duties, pools
from runtime.system import clock

log = logging.getLogger(__name__)


class Registration:
    """The row of one pool process in the table of pools."""

    def __init__(
        self,
        database: Database,
        pool: str,
        incarnation: str,
        slots: int,
        workers: Sequence[Worker],
        sandboxing: Sandboxing,
        queue: QueueWorker,
        duties: Callable[[], Mapping[str, float]],
    ) -> None:
        """``workers`` are those of the pool, whether they can be run or not; ``queue`` consumes its queue.

        ``duties`` returns for each duty of the process the seconds since its last success.
        """
        self._sandboxing = sandboxing
        self._database = database
        self._pool = pool
        self._incarnation = incarnation
        self._slots = slots
        self._workers = workers
        self._queue = queue
        self._duties = duties

    def report(self) -> None:
        """Report that the process is alive, and why it cannot run those workers that it cannot."""
        workers = {
            worker.id: {
                "digest": worker.digest,
                "reason": worker.unavailable(os.environ) or self._sandboxing.refusal(worker),
                "max_running": worker.max_running,
                "sandbox": self._sandboxing.report(worker),
            }
            for worker in self._workers
        }
        try:
            self._database.write(self._write, workers)
        except StoreUnavailable:
            log.warning("the database is away; this pool could not report itself")

    def withdraw(self) -> None:
        """Report that the process starts no more runs. Without that its silence is noticed later."""
        with suppress(StoreUnavailable):
            self._database.write(pools.withdraw, self._incarnation)
            self._database.write(duties.withdraw, self._incarnation)

    def _write(self, c: Connection, workers: Mapping[str, Json]) -> None:
        skew = pools.clock_skew(c, time.time)
        clock.note_skew(*skew)
        pools.report(
            c,
            self._pool,
            self._incarnation,
            self._slots,
            workers,
            clock_skew=skew.seconds,
            dropped_messages=self._queue.dropped,
            queue_refusal=self._queue.refusal,
        )
        duties.report(c, self._incarnation, duties.POOL, self._pool, self._duties())
