"""The installed workers: folders with a worker.toml, found and validated.

A broken folder is reported and skipped; the others work regardless.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from runtime.errors import UnknownWorker, WorkerInvalid
from runtime.registry import config_schema
from runtime.registry.manifest import Worker, load


class Registry:
    """All workers that a process knows."""

    def __init__(self, workers: Mapping[str, Worker], broken: Mapping[str, str]) -> None:
        self.workers = MappingProxyType(dict(workers))
        """By id, in order of id."""
        self.broken = MappingProxyType(dict(broken))
        """Folder → what is wrong with it, one sentence that says how to fix it."""

    def get(self, worker_id: str) -> Worker:
        """The worker with that id. Raises UnknownWorker."""
        try:
            return self.workers[worker_id]
        except KeyError:
            raise UnknownWorker(worker_id) from None


def discover(folders: Sequence[Path]) -> Registry:
    """The workers in ``folders``, each of which contains one folder per worker.

    If two workers have the same id, the first one is used and the other is broken.
    """
    workers: dict[str, Worker] = {}
    broken: dict[str, str] = {}
    for candidate in candidates(folders, broken):
        try:
            worker = load(candidate)
            if worker.id in workers:
                raise id_taken(worker.id, workers[worker.id].folder)
            workers[worker.id] = worker
        except WorkerInvalid as error:
            broken[str(candidate)] = str(error)
    config_schema.processes.close()  # most of those who look for workers check no config afterwards
    return Registry(dict(sorted(workers.items())), broken)


def candidates(folders: Sequence[Path], broken: dict[str, str]) -> Iterator[Path]:
    """What may be workers in ``folders``; what is wrong with one of these is put into ``broken``."""
    for folder in dict.fromkeys(Path(folder).absolute() for folder in folders):
        try:
            yield from list(_candidates(folder))
        except (WorkerInvalid, OSError) as error:
            broken[str(folder)] = str(error)


def id_taken(worker_id: str, folder: Path) -> WorkerInvalid:
    """Another folder, ``folder``, has a worker of that id already."""
    return WorkerInvalid(f"its id {worker_id!r} is already used by {folder}; choose another")


def _candidates(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise WorkerInvalid("there is no such folder; correct WORKERS_PATH")
    if (folder / "worker.toml").exists():
        raise WorkerInvalid("it is a worker itself; set WORKERS_PATH to the folder that contains it")
    for candidate in sorted(folder.iterdir()):
        if not candidate.name.startswith(".") and _may_be_worker(candidate):
            yield candidate


def _may_be_worker(folder: Path) -> bool:
    try:
        return (folder / "worker.toml").exists()
    except OSError:
        return True  # to read it says what is wrong, and of this folder alone
