"""Workers of type ``remote``: machines elsewhere execute them (`branchline remote`)."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.child.launchers.launcher import LaunchContext
from runtime.child.remote_child import RemoteChild
from runtime.errors import ChildFailed
from runtime.registry import Worker


class RemoteLauncher:
    """Gives the run to a machine that has offered to execute one."""

    def __init__(self, context: LaunchContext) -> None:
        """Needs only the machines: no process is started here."""
        self._machines = context.machines

    def warm(self, worker: Worker) -> None:
        """There is nothing to prepare."""

    def start(self, worker: Worker, environ: Mapping[str, str], line: bytes) -> RemoteChild:
        """A child on the machine whose offer was taken for this run. Raises ChildFailed."""
        if self._machines is None:
            raise ChildFailed("A worker of type remote is executed for a pool only.")
        return self._machines.begin(environ["BRANCHLINE_RUN_ID"], environ, line)
