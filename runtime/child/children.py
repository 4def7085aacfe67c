"""The children of a pool process: start one for a run, whatever the type of its worker.

The pool process forks no child itself. It asks a host (:mod:`runtime.child.host`),
which is started when the first run of a worker needs it, and passes it the pipes. Runs
of http workers have no process: they are requests to a service.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from runtime.child.child import Child
from runtime.child.control_groups import ControlGroups
from runtime.child.hosts import Hosts
from runtime.child.launchers import LAUNCHERS, LaunchContext
from runtime.child.remote_child import RemoteMachines
from runtime.child.sandboxing import Sandboxing
from runtime.registry import Worker
from runtime.settings import Settings


class Children:
    """Starts children, each by the launcher of its worker's type."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str] | None = None,
        machines: RemoteMachines | None = None,
    ) -> None:
        """``environ``: variables that children may inherit; those of this process if None.

        ``machines``: those elsewhere that execute workers of type remote.
        """
        environ = os.environ if environ is None else environ
        self.sandboxing = Sandboxing(settings, environ)
        self.hosts = Hosts(environ, settings.pool.host_recycle, self.sandboxing)
        context = LaunchContext(self.hosts, ControlGroups(), environ, machines)
        self._launchers = {type: launcher(context) for type, launcher in LAUNCHERS.items()}

    def start(self, worker: Worker, *, run_id: str, environ: Mapping[str, str], line: bytes = b"") -> Child:
        """Start a child for a run; ``environ`` is added to what the worker may see.

        ``line`` is written to its stdin before it starts, so that it can be read at once.
        Raises ChildFailed if the program cannot be executed, or the worker cannot be imported.
        """
        return self._launchers[worker.type].start(worker, {"BRANCHLINE_RUN_ID": run_id, **environ}, line)

    def warm(self, worker: Worker) -> None:
        """Start what the worker needs, such as its host, before its first run. Raises ChildFailed."""
        self._launchers[worker.type].warm(worker)

    def copies(self) -> Path:
        """The folder for copies of workers' folders. Raises OSError."""
        return Path(self.sandboxing.pool_folder().versions())

    def retire(self, worker: Worker) -> None:
        """No run of this version follows; those that are under way end undisturbed."""
        self.hosts.retire(worker)
        self.sandboxing.forget(worker)

    def close(self) -> None:
        """End all hosts and the processes they started. Requests of http workers end with their attempts."""
        self.hosts.close()
        self.sandboxing.close()
