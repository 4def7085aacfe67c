"""Workers of type ``exec``: any program that speaks the protocol."""

from __future__ import annotations

from runtime.child.launchers.launcher import CommandLauncher
from runtime.registry import Worker


class ExecLauncher(CommandLauncher):
    """Executes the command of the worker's worker.toml."""

    def command(self, worker: Worker) -> list[str]:
        """The command, its program as a path."""
        return [self.find(worker.command[0]), *worker.command[1:]]
