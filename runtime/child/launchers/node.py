"""Workers of type ``node``: Node.js executes their entrypoint."""

from __future__ import annotations

from runtime.child.launchers.launcher import CommandLauncher
from runtime.registry import Worker


class NodeLauncher(CommandLauncher):
    """Executes ``node ENTRYPOINT``."""

    def command(self, worker: Worker) -> list[str]:
        """Node.js and the entrypoint."""
        return [self.find("node"), str(worker.entrypoint)]
