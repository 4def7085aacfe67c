"""Workers of type ``python``: forked from a host that has imported them."""

from __future__ import annotations

from runtime.child.launchers.launcher import ProcessLauncher
from runtime.registry import Worker


class PythonLauncher(ProcessLauncher):
    """Forks the worker's host."""

    def warm(self, worker: Worker) -> None:
        """Start the worker's host, which imports it."""
        self._context.hosts.for_worker(worker)

    def command(self, worker: Worker) -> None:
        """Nothing is executed: a fork has all that it needs in memory."""
