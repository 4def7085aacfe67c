"""Workers of type ``python``: forked from a host that has imported them."""

from __future__ import annotations

from runtime.child.host_process import HostProcess
from runtime.child.launchers.launcher import ProcessLauncher
from runtime.registry import Worker


class PythonLauncher(ProcessLauncher):
    """Forks the worker's host."""

    def host(self, worker: Worker) -> HostProcess:
        """The host that has imported the worker."""
        return self._context.hosts.for_worker(worker)

    def command(self, worker: Worker) -> None:
        """Nothing is executed: a fork has all that it needs in memory."""
