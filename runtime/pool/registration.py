"""The registration: how a pool process reports in the database that it is alive, and what it can run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Set
from contextlib import suppress

from runtime.errors import StoreUnavailable
from runtime.model import Json
from runtime.pool.workers import PoolWorkers
from runtime.queue.worker import QueueWorker
from runtime.store import Connection, Database, backlog, duties, pools, worker_versions
from runtime.system import clock

log = logging.getLogger(__name__)


class Registration:
    """The row of one pool process in the table of pools."""

    def __init__(
        self,
        database: Database,
        pool: str,
        incarnation: str,
        lease: float,
        slots: int,
        workers: PoolWorkers,
        queue: QueueWorker,
        duties: Callable[[], Mapping[str, float]],
    ) -> None:
        """``workers`` are those of the pool; ``queue`` consumes its queue.

        ``duties`` returns for each duty of the process the seconds since its last success.
        """
        self._database = database
        self._pool = pool
        self._incarnation = incarnation
        self._lease = lease
        self._slots = slots
        self._workers = workers
        self._queue = queue
        self._duties = duties
        self._reported: Set[str] = frozenset()
        """Ids of the workers that it has reported last."""
        self._registered: Set[str] = frozenset()
        """Digests of the versions that it has reported last."""

    def report(self) -> None:
        """Report that the process is alive, and which workers it has."""
        report = self._workers.report()
        manifests = {worker.digest: worker.encode() for worker in self._workers.current.values()}
        try:
            self._database.write(self._write, report, manifests)
            self._reported, self._registered = report.keys(), manifests.keys()
        except StoreUnavailable:
            log.warning("the database is away; this pool could not report itself")

    def withdraw(self) -> None:
        """Report that the process starts no more runs. Without that its silence is noticed later."""
        with suppress(StoreUnavailable):
            self._database.write(pools.withdraw, self._incarnation)
            self._database.write(duties.withdraw, self._incarnation)

    def _write(
        self, c: Connection, report: Mapping[str, Json], manifests: Mapping[str, Mapping[str, Json]]
    ) -> None:
        skew = pools.clock_skew(c, time.time)
        clock.note_skew(*skew)
        pools.report(
            c,
            self._pool,
            self._incarnation,
            self._slots,
            report,
            clock_skew=skew.seconds,
            dropped_messages=self._queue.dropped,
            queue_refusal=self._queue.refusal,
        )
        worker_versions.register(c, self._pool, manifests)
        if manifests.keys() != self._registered:
            worker_versions.forget_replaced(c, self._pool, self._lease)
        if appeared := report.keys() - self._reported:
            backlog.release_held_back(c, self._pool, sorted(appeared))
        duties.report(c, self._incarnation, duties.POOL, self._pool, self._duties())
