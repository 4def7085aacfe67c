"""The installed workers, and whether they can run.

:mod:`~runtime.registry.availability` needs the database, which a child's host must not
import; so it is not part of what is exported here.
"""

from runtime.registry.manifest import Worker, WorkerLimits, WorkerType, load
from runtime.registry.registry import Registry, discover

__all__ = ["Registry", "Worker", "WorkerLimits", "WorkerType", "discover", "load"]
