"""The sandboxes of a pool's workers: what is in force for each, and the folders of their runs."""

from __future__ import annotations

import errno
import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from runtime.child.egress import Routes
from runtime.errors import ChildFailed, ChildLost
from runtime.registry import Worker
from runtime.registry.environments import Environments
from runtime.sandbox.folders import PoolFolder
from runtime.sandbox.plan import Plan
from runtime.sandbox.policy import NETWORK, Bounds, Place, Policy, Subject
from runtime.sandbox.rules import Level, Rules
from runtime.settings import CHECKOUT, Settings, database_address

log = logging.getLogger(__name__)

_FILES_OF_SQLITE = ("", "-wal", "-shm", "-journal")
"""What is written comes into the second of these first."""


class Sandboxing:
    """Decides for each worker of this machine what its sandbox is."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        """``environ``: the variables of which children get some."""
        self._environ = environ
        self._api_url = settings.api_url
        self._path = environ.get("PATH", "")
        self._place = Place(
            checkout=CHECKOUT,
            private=_private(settings),
            bounds=Bounds(settings.sandbox.disk_bytes, settings.sandbox.processes),
            search_path=self._path,
        )
        self.environments = Environments(settings.home)
        self._policies: dict[tuple[str, str, bool], Policy] = {}
        """By the id and the digest of a worker, and whether its environment is there."""
        self._folder: PoolFolder | None = None
        self._closed = False
        self._lock = Lock()

    def policy(self, worker: Worker) -> Policy:
        """What keeps the runs of a worker in their place."""
        key = worker.id, worker.digest, self.environments.missing(worker) is None
        if key not in self._policies:
            self._policies[key] = self._decide(worker)
        return self._policies[key]

    def forget(self, worker: Worker) -> None:
        """This version has no further runs."""
        for is_installed in (True, False):
            self._policies.pop((worker.id, worker.digest, is_installed), None)

    def refusal(self, worker: Worker) -> str | None:
        """Why a worker must not run on this machine; None: it may."""
        return self.environments.missing(worker) or self.policy(worker).refusal

    def report(self, worker: Worker) -> dict[str, Any] | None:
        """What is in force for a worker and what is not, as a pool reports it; None: it runs elsewhere."""
        if worker.type.elsewhere:
            return None
        in_force = self.policy(worker).in_force
        return {**in_force.encode(), "missing": dict(in_force.missing)}

    def encode(self, workers: Iterable[Worker]) -> str:
        """What is in force for each worker, by its id, as JSON; null for one that runs elsewhere."""
        return json.dumps({worker.id: self._encode(worker) for worker in workers})

    def _encode(self, worker: Worker) -> dict[str, Any] | None:
        return None if worker.type.elsewhere else self.policy(worker).in_force.encode()

    def log(self, workers: Iterable[Worker]) -> None:
        """Log what is not in force for these workers, once for each reason."""
        lacking: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
        for worker in workers:
            if not worker.type.elsewhere:
                for measure, why in self.policy(worker).in_force.missing.items():
                    ids, measures = lacking.setdefault(why, ({}, {}))
                    ids[worker.id] = measures[measure] = None
        for why, (ids, measures) in lacking.items():
            log.warning("the sandbox of %s is without %s: %s", ", ".join(ids), ", ".join(measures), why)

    def plan(self, worker: Worker) -> Plan | None:
        """What the worker's next host is to do, with a folder of its own. Raises ChildFailed."""
        policy = self.policy(worker)
        refusal = self.refusal(worker)
        if refusal is not None:
            raise ChildFailed(f"The worker may not run here: {refusal}.")
        if policy.in_force.level is Level.NONE:
            return None
        try:
            return policy.plan(self.pool_folder().make())
        except OSError as error:
            raise ChildLost(f"no folder could be made for its runs: {error.strerror}") from error

    def routes(self, worker: Worker) -> Routes | None:
        """What the worker is let out to; None where it is in the machine's network."""
        if NETWORK not in self.policy(worker).in_force.measures:
            return None
        return Routes.of(worker, self._environ, self._api_url)

    def close(self) -> None:
        """Remove the folders of all hosts, which have ended. What cannot be removed is logged."""
        with self._lock:
            self._closed = True
            folder, self._folder = self._folder, None
        if folder is not None:
            try:
                folder.remove()
            except OSError as error:
                log.warning("the folder %s could not be removed: %s", folder.path, error.strerror)

    def pool_folder(self) -> PoolFolder:
        """The folder of this process, made when it is first needed. Raises OSError, also after its end."""
        with self._lock:
            if self._closed:
                raise OSError(errno.ESHUTDOWN, "its pool was shutting down")
            if self._folder is None:
                self._folder = PoolFolder()
            return self._folder

    def _decide(self, worker: Worker) -> Policy:
        rules = Rules(level=Level.NONE) if worker.type.elsewhere else worker.sandbox
        program = worker.program
        command = [shutil.which(program, path=self._path) or program] if program else []
        python = None if self.environments.missing(worker) else self.environments.python(worker)
        return Policy(Subject(rules, worker.folder, command, python, worker.source), self._place)


def _private(settings: Settings) -> tuple[Path, ...]:
    """What no run may reach: the data folder, and the database where it is files."""
    where = database_address.parse(settings.database_url)
    if isinstance(where, database_address.SQLiteFile):
        name = where.path.name
        return settings.home, *(where.path.with_name(name + suffix) for suffix in _FILES_OF_SQLITE)
    return (settings.home,)
