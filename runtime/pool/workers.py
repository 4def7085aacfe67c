"""The workers of a pool process: which version of each the next run gets.

A changed folder is taken up without a restart. Once it was still for a second it is copied, and its
host imports the copy; then the next run gets it. Runs that are under way end on the copy that they
have begun with, which is removed after the last of them. A change that cannot be imported, or whose
worker.toml is wrong, is rejected: the version before stays, and :meth:`PoolWorkers.report` says why.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from runtime.child import Children
from runtime.errors import ChildFailed, ChildLost, WorkerInvalid
from runtime.model import Json
from runtime.pool.choices import OfferedChoices
from runtime.registry import Worker, candidates, id_taken, versions
from runtime.registry.digest import Identity

log = logging.getLogger(__name__)

_GONE_AFTER = 3.0
"""Seconds after which a worker is removed whose folder is gone: it may be about to be replaced."""
_AGAIN_AFTER = 30.0
"""Seconds until an import that has failed is tried again: what it lacks may be installed by then."""
_STARTING_TRIES = 20
_STARTING_PAUSE = 0.1
"""How often a folder that is being changed is read at the start, and the seconds between."""


@dataclass(slots=True, eq=False)
class Version:
    """One version of a worker that this process has."""

    worker: Worker
    reason: str | None = None
    """Why its import has failed; None: it has not, as far as is known."""
    runs: int = 0
    """How many hold it."""
    again_at: float = 0.0
    """When an import that has failed is tried again."""


@dataclass(slots=True, eq=False)
class _Folder:
    """A folder that may be a worker, as it is watched."""

    path: Path
    seen: Identity | None = None
    """As it was at the last look."""
    examined: Identity | None = None
    """As it was when it was taken up or rejected."""
    worker_id: str | None = None
    """The worker of this pool that was found in it."""
    rejected: str | None = None
    """Why it is not taken up as it is now."""
    failed: Identity | None = None
    """As it was when it could not be imported or copied, which is tried again at ``again_at``."""
    again_at: float = 0.0
    gone_at: float | None = None

    @property
    def is_to_examine(self) -> bool:
        """Whether it is another one than was examined, and than one that is tried again later."""
        is_late = self.seen != self.failed or time.monotonic() >= self.again_at
        return self.seen != self.examined and is_late


class PoolWorkers:
    """The workers of one pool, in one process."""

    def __init__(
        self,
        pool: str,
        paths: Sequence[Path],
        children: Children,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """``paths`` contain one folder per worker. ``on_change`` is called when the report has changed."""
        self._pool = pool
        self._paths = paths
        self._children = children
        self._on_change = on_change
        self._folders: dict[Path, _Folder] = {}
        self._versions: dict[tuple[str, str], Version] = {}
        """All that this process has, by id and digest."""
        self._choices = OfferedChoices(children)
        self.cost = 0.0
        """Seconds of the processor that the last look took."""
        self.current: Mapping[str, Worker] = MappingProxyType({})
        """Of each worker the version that its next run gets, by id. Another mapping after each change."""

    # ── for runs ────────────────────────────────────────────────────────────

    def hold(self, worker_id: str, digest: str | None = None) -> Version | None:
        """The version that a run of this worker gets, kept until :meth:`release`; None: there is none.

        ``digest``: that of the version which it is to be, if this process still has it.
        """
        version = self._versions.get((worker_id, digest or ""))
        if version is None and worker_id in self.current:
            version = self._versions[worker_id, self.current[worker_id].digest]
        if version is not None:
            version.runs += 1
        return version

    def release(self, version: Version) -> None:
        """A run that has held this version has ended."""
        version.runs -= 1
        self._drop_unused(version)

    def report(self) -> dict[str, Json]:
        """What this process says of its workers, by id."""
        rejected = {folder.worker_id: folder.rejected for folder in self._folders.values()}
        sandboxing = self._children.sandboxing
        return {
            worker.id: {
                "digest": worker.digest,
                "reason": self._refusal(worker) or self._versions[worker.id, worker.digest].reason,
                "rejected": rejected.get(worker.id),
                "note": self._children.hosts.notes.get(worker.id),
                "choices": self._choices.of(worker),
                "max_running": worker.max_running,
                "sandbox": sandboxing.report(worker),
            }
            for worker in self.current.values()
        }

    # ── the beginning ───────────────────────────────────────────────────────

    def load(self) -> None:
        """Find the workers of the pool and copy their folders; one that is being changed is waited for."""
        for path in self._candidates():
            folder = self._folders[path] = _Folder(path)
            for _ in range(_STARTING_TRIES):
                with suppress(versions.FolderChanges):
                    self._examine(folder, at_start=True)
                    break
                time.sleep(_STARTING_PAUSE)

    def use(self, worker: Worker) -> None:
        """Have this version alone, which another process has copied."""
        self._put(Version(worker))

    def warm(self) -> Iterator[None]:
        """Have the hosts import their workers, before the first run."""
        for worker in list(self.current.values()):
            if self._refusal(worker) is None:
                self._import_current(self._versions[worker.id, worker.digest])
            yield

    # ── changes ─────────────────────────────────────────────────────────────

    def look(self) -> Iterator[None]:
        """Look at each folder once. What has changed, and was still since the last look, is taken up."""
        found = self._candidates()
        self.cost = 0.0
        for path in found:
            folder = self._folders.setdefault(path, _Folder(path))
            folder.gone_at = None
            now, cost = versions.glance(path, self._written(folder))
            self.cost += cost
            still, folder.seen = now is not None and now == folder.seen, now
            if still and folder.is_to_examine:
                with suppress(versions.FolderChanges):  # once it is still again
                    self._examine(folder)
            yield
        for path in self._folders.keys() - set(found):
            self._note_gone(self._folders[path])
        for worker in list(self.current.values()):
            version = self._versions[worker.id, worker.digest]
            if version.reason is not None and time.monotonic() >= version.again_at:
                self._import_current(version)
                yield

    def ask_for_choices(self) -> Iterator[None]:
        """Ask workers what may be chosen in their configs, those for which it is time."""
        return self._choices.refresh(list(self.current.values()))

    def _candidates(self) -> list[Path]:
        return list(candidates(self._paths, {}))

    def _written(self, folder: _Folder) -> frozenset[str]:
        worker = self.current.get(folder.worker_id or "")
        return worker.written if worker else frozenset()

    def _examine(self, folder: _Folder, at_start: bool = False) -> None:
        """Take up what is in a folder, or reject it. Raises FolderChanges."""
        seen = folder.seen
        try:
            self._take_up(folder, versions.read(folder.path), at_start)
        except versions.FolderChanges:
            raise
        except (ChildFailed, OSError) as error:
            self._reject(folder, str(error))
            folder.failed, folder.again_at = seen, time.monotonic() + _AGAIN_AFTER
            return
        except WorkerInvalid as error:
            self._reject(folder, str(error))
        folder.examined = seen

    def _take_up(self, folder: _Folder, reading: versions.Reading, at_start: bool) -> None:
        """Have the next run of a worker get this version.

        Raises WorkerInvalid, and ChildFailed or OSError where the same may succeed later.
        """
        worker = reading.worker
        if folder.worker_id not in (None, worker.id) or worker.pool != self._pool:
            self._remove(folder)
        if worker.pool != self._pool:
            return
        other = next((f.path for f in self._folders.values() if f.worker_id == worker.id), folder.path)
        if other != folder.path:
            raise id_taken(worker.id, other)
        before = self.current.get(worker.id)
        version = self._versions.get((worker.id, worker.digest))
        if version is None:
            version = Version(versions.copied(reading, self._children.copies()))
            try:
                if not at_start:
                    self._prove(version, before)
            except BaseException:
                self._discard(version)
                raise
        folder.worker_id = worker.id
        was_rejected, folder.rejected = folder.rejected, None
        if before is None or before.digest != worker.digest:
            self._put(version)
        elif was_rejected:
            self._on_change()

    def _prove(self, version: Version, before: Worker | None) -> None:
        """Import a new version. Where there is none before it, it is there even if that fails.

        Raises ChildFailed.
        """
        refusal = self._refusal(version.worker)
        if refusal is not None:
            if before is not None and version.worker.enabled:
                raise ChildFailed(refusal)  # what is missing may be there later
            return
        try:
            self._children.warm(version.worker)
        except ChildFailed as error:
            if before is not None or isinstance(error, ChildLost):
                raise
            self._note_failure(version, error)

    def _import_current(self, version: Version) -> None:
        """Import a version that runs get already."""
        failed_before = version.reason
        try:
            self._children.warm(version.worker)
            version.reason = None
        except ChildLost as error:
            log.warning("worker %s could not be warmed; its runs will say why: %s", version.worker.id, error)
        except ChildFailed as error:
            self._note_failure(version, error)
        if version.reason != failed_before:
            self._on_change()

    def _note_failure(self, version: Version, error: ChildFailed) -> None:
        if version.reason != str(error):
            log.warning("worker %s cannot run: %s", version.worker.id, error)
        version.reason = str(error)
        version.again_at = time.monotonic() + _AGAIN_AFTER

    def _refusal(self, worker: Worker) -> str | None:
        """Why a worker cannot run in this process, whatever its code is."""
        return worker.unavailable(os.environ) or self._children.sandboxing.refusal(worker)

    def _reject(self, folder: _Folder, reason: str) -> None:
        if folder.rejected == reason:
            return
        folder.rejected = reason
        kept = "; the version before stays" if folder.worker_id else ""
        log.warning("%s is not taken up%s: %s", folder.path, kept, reason)
        self._on_change()

    def _note_gone(self, folder: _Folder) -> None:
        now = time.monotonic()
        folder.gone_at = folder.gone_at or now
        folder.seen = None
        if now - folder.gone_at >= _GONE_AFTER:
            self._remove(folder)
            del self._folders[folder.path]

    # ── versions ────────────────────────────────────────────────────────────

    def _put(self, version: Version) -> None:
        """The next run of a worker gets this version."""
        worker = version.worker
        before = self.current.get(worker.id)
        self._versions[worker.id, worker.digest] = version
        self.current = MappingProxyType(dict(sorted({**self.current, worker.id: worker}.items())))
        if before is not None:
            log.info("worker %s: its next run gets the version %s", worker.id, worker.digest[:12])
            self._drop_unused(self._versions[before.id, before.digest])
        self._on_change()

    def _remove(self, folder: _Folder) -> None:
        """The folder has no worker of this pool any more."""
        worker = self.current.get(folder.worker_id or "")
        folder.worker_id = folder.rejected = None
        if worker is None:
            return
        log.info("worker %s is gone", worker.id)
        self.current = MappingProxyType({i: w for i, w in self.current.items() if i != worker.id})
        self._drop_unused(self._versions[worker.id, worker.digest])
        self._on_change()

    def _drop_unused(self, version: Version) -> None:
        worker = version.worker
        if version.runs == 0 and self.current.get(worker.id) is not worker:
            if self._versions.get((worker.id, worker.digest)) is version:
                del self._versions[worker.id, worker.digest]
            self._discard(version)

    def _discard(self, version: Version) -> None:
        self._children.retire(version.worker)
        versions.discard(version.worker)
