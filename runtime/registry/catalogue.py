"""The catalogue: which workers there are, and whether they can run, as pools have registered them.

All processes read the same, so they agree on it, and none but the pools needs the folders. While
pools are replaced, several versions of a worker are there at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from runtime.errors import UnknownWorker, WorkerElsewhere, WorkerInvalid
from runtime.model import Pool
from runtime.registry.manifest import Manifest
from runtime.registry.registry import Registry
from runtime.store import Connection, Database, backlog, pools, worker_versions
from runtime.store.worker_versions import Version

log = logging.getLogger(__name__)

_MAX_AGE = 1.0
"""Seconds for which what was read is used."""
_RECENT = 0.2
"""The same, where what was read lacks what is looked for."""


@dataclass(frozen=True, slots=True)
class PoolVersion:
    """One version of a worker, in the processes of its pool that are alive."""

    digest: str
    processes: int
    reason: str | None
    """Why it cannot run in any of them; None: it can."""


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
    versions: Sequence[PoolVersion] = ()
    """Those that its pool has, the one that is described first."""
    rejected: str | None = None
    """Why a pool does not take up the last change of its folder; None: it has, or there is none."""
    note: str | None = None
    """What its author should know of how its pool starts it."""
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By field of its config, what may be chosen there, as the worker says it."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was read at one moment."""

    pools: Sequence[Pool] = ()
    """Their processes that are alive."""
    workers: Mapping[str, Manifest] = field(default_factory=dict)
    """Of each worker the version that is described, by id, in order."""
    elsewhere: frozenset[str] = frozenset()
    """Workers that a pool has, and of which nobody has registered more."""


class Catalogue:
    """Reads what pools report at most once a second, however many requests there are."""

    def __init__(self, database: Database, lease: float, local: Callable[[], Registry]) -> None:
        """``lease``: seconds within which a pool must have reported itself.

        ``local`` are the workers in this machine's folders, if it has them: what is known of those
        whose pool was never there.
        """
        self._database = database
        self._lease = lease
        self._local = local
        self._manifests: dict[str, Manifest | None] = {}
        """By digest; None: it is none that this process understands."""
        self._seen = _Seen()
        self._queued: dict[str, int] = {}
        self._read_at = float("-inf")
        self._reading = threading.Lock()

    def refresh(self, max_age: float = _MAX_AGE) -> None:
        """Read again what is older than ``max_age`` seconds. Not to be called inside a transaction.

        Raises StoreUnavailable.
        """
        if self._age() <= max_age:
            return
        # Only who has nothing to go by, or misses something, waits for what another request reads.
        if not self._reading.acquire(blocking=max_age < _MAX_AGE or not self._seen.workers):
            return
        try:
            if self._age() > max_age:
                # As of one moment: a pool may report another version in the midst of it, and forget the last.
                listed, versions, registered, self._queued = self._database.snapshot(self._read)
                self._note(registered)
                self._seen = self._of_now([pool for pool in listed if pool.alive], versions)
                self._read_at = time.monotonic()
        finally:
            self._reading.release()

    @property
    def workers(self) -> Mapping[str, Manifest]:
        """All workers by id, in order, as they were last read."""
        return self._seen.workers

    def find(self, worker_id: str) -> Manifest:
        """The worker with that id, read again if it is not known. Not to be called inside a transaction.

        Raises UnknownWorker; WorkerElsewhere where a pool of an earlier version of Branchline has it,
        which does not register what web has to know; StoreUnavailable.
        """
        self.refresh()
        if worker_id not in self._seen.workers:
            self.refresh(_RECENT)
        if worker_id in self._seen.workers:
            return self._seen.workers[worker_id]
        if worker_id in self._seen.elsewhere:
            raise WorkerElsewhere(worker_id)
        raise UnknownWorker(worker_id)

    def is_in_pool(self, pool: str, worker_id: str, digest: str | None = None) -> bool:
        """Whether a process of the pool that is alive has that worker, or that version of it."""
        reports = (p.workers.get(worker_id) for p in self._seen.pools if p.name == pool)
        return any(report and digest in (None, report.get("digest")) for report in reports)

    def continues(self, worker_id: str) -> bool:
        """Whether an attempt of that worker goes on with the text of a lost one."""
        worker = self._seen.workers.get(worker_id)
        return worker is not None and worker.continues

    def near_capacity(self, pool: str, count: int, bound: int) -> bool:
        """Whether ``count`` more queued runs may exceed ``bound``, so that they must be counted.

        It is an estimate: the length that was last read, at most a second ago, and what this
        process has added since. A tenth of ``bound`` is left for what other processes have added.
        """
        self._queued[pool] = self._queued.get(pool, 0) + count
        return self._queued[pool] > 0.9 * bound

    def availability(self, worker: Manifest) -> WorkerAvailability:
        """Whether ``worker`` can run, by the reports that were last read."""
        alive = [pool for pool in self._seen.pools if pool.name == worker.pool]
        slots, busy = sum(pool.slots for pool in alive), sum(pool.busy for pool in alive)
        if not worker.enabled:
            return WorkerAvailability(False, "it is disabled in its worker.toml", True, slots, busy)
        if not alive:
            reason = f"No pool named {worker.pool!r} is running; a run waits until one is."
            return WorkerAvailability(False, reason, False, slots, busy)
        reports = [pool.workers[worker.id] for pool in alive if worker.id in pool.workers]
        rejected, note = (_first(reports, name) for name in ("rejected", "note"))
        versions = _versions(reports, worker.digest)
        reasons = [report["reason"] for report in reports] or ["no process of its pool has it"]
        blocked = all(reasons)
        return WorkerAvailability(
            not blocked,
            reasons[0] if blocked else None,
            blocked,
            slots,
            busy,
            versions,
            rejected,
            note,
            _first(reports, "choices") or {},
        )

    def _age(self) -> float:
        return time.monotonic() - self._read_at

    def _read(
        self, c: Connection
    ) -> tuple[list[Pool], list[Version], dict[str, Mapping[str, Any]], dict[str, int]]:
        versions = worker_versions.listing(c)
        unread = [version.digest for version in versions if version.digest not in self._manifests]
        registered = worker_versions.manifests(c, unread)
        return pools.listing(c, self._lease), versions, registered, backlog.lengths(c)

    def _note(self, registered: Mapping[str, Mapping[str, Any]]) -> None:
        for digest, document in registered.items():
            try:
                self._manifests[digest] = Manifest.decode(document, digest)
            except WorkerInvalid as error:
                log.warning("the version %s of a worker is not understood: %s", digest[:12], error)
                self._manifests[digest] = None

    def _of_now(self, alive: Sequence[Pool], versions: Sequence[Version]) -> _Seen:
        there = {version.digest for version in versions}
        self._manifests = {digest: m for digest, m in self._manifests.items() if digest in there}
        running = {pool.name for pool in alive}
        reports: dict[str, list[Mapping[str, Any]]] = {}
        for pool in alive:
            for worker_id, report in pool.workers.items():
                reports.setdefault(worker_id, []).append(report)
        found: dict[str, Manifest] = {}
        for rank in _Rank:
            for version in versions:
                manifest = self._manifests.get(version.digest)
                if manifest and _rank(version, reports.get(version.worker_id, ()), running) is rank:
                    found.setdefault(version.worker_id, manifest)
        unregistered = reports.keys() - found.keys()
        for worker in self._local().workers.values():
            if worker.id in unregistered or worker.pool not in running:
                found.setdefault(worker.id, worker)
        return _Seen(alive, dict(sorted(found.items())), frozenset(reports.keys() - found.keys()))


class _Rank(Enum):
    """Which version of a worker is described; of one rank it is the newest."""

    CAN_RUN = 1
    CANNOT_RUN = 2
    POOL_IS_AWAY = 3


def _rank(version: Version, reports: Sequence[Mapping[str, Any]], running: Set[str]) -> _Rank | None:
    """``reports``: of the version's worker; ``running``: the pools that are alive."""
    reasons = [report.get("reason") for report in reports if report.get("digest") == version.digest]
    if reasons:
        return _Rank.CANNOT_RUN if all(reasons) else _Rank.CAN_RUN
    return None if version.pool in running else _Rank.POOL_IS_AWAY


def _first(reports: Sequence[Mapping[str, Any]], name: str) -> Any:
    """What the first process says that says something there."""
    return next((said for report in reports if (said := report.get(name))), None)


def _versions(reports: Sequence[Mapping[str, Any]], first: str) -> list[PoolVersion]:
    by_digest: dict[str, list[Mapping[str, Any]]] = {first: []}
    for report in reports:
        by_digest.setdefault(report["digest"], []).append(report)
    return [
        PoolVersion(digest, len(of_digest), _reason(of_digest))
        for digest, of_digest in by_digest.items()
        if of_digest
    ]


def _reason(reports: Sequence[Mapping[str, Any]]) -> str | None:
    """Why none of these processes can run it."""
    reasons = [report["reason"] for report in reports]
    return reasons[0] if all(reasons) else None
