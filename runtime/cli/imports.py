"""Whether the workers of this machine can be imported, found out as a pool does it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass

from runtime.child import Children
from runtime.errors import ChildFailed
from runtime.registry import Worker
from runtime.settings import Settings


def lacks_package(failure: str) -> bool:
    """Whether a failure is that a package was not found, which may be installed where the pool runs."""
    return "ModuleNotFoundError:" in failure or ": Cannot find package '" in failure


@dataclass(frozen=True, slots=True)
class Imports:
    """What was found out, by id of the worker."""

    failures: Mapping[str, str]
    """Why workers cannot run here that lack nothing else."""
    notes: Mapping[str, str]
    """What the authors of others should know of how they are started."""


def examine(workers: Iterable[Worker], settings: Settings) -> Imports:
    """Import all that can be imported here.

    Each gets a process and a sandbox of its own. What they print meanwhile, a pool has in its log.
    """
    failures: dict[str, str] = {}
    logger = logging.getLogger("runtime.child")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with closing(Children(settings)) as children:
            for worker in workers:
                if worker.unavailable(os.environ) or children.sandboxing.refusal(worker):
                    continue
                try:
                    children.warm(worker)
                except ChildFailed as error:
                    failures[worker.id] = str(error)
            notes = {worker_id: note for worker_id, note in children.hosts.notes.items() if note}
    finally:
        logger.setLevel(level)
    return Imports(failures, notes)
