"""The workers: those in the folders of this machine, and those that pools have registered.

:mod:`~runtime.registry.catalogue` needs the database, which a child's host must not
import; so it is not part of what is exported here.
"""

from runtime.registry.manifest import Manifest, Worker, WorkerLimits, WorkerType, load
from runtime.registry.registry import Registry, candidates, discover, id_taken

__all__ = [
    "Manifest",
    "Registry",
    "Worker",
    "WorkerLimits",
    "WorkerType",
    "candidates",
    "discover",
    "id_taken",
    "load",
]
