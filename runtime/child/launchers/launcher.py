"""The contract of a launcher, and what is the same for all that start a process on this machine."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runtime.child.child import Child
from runtime.child.child_process import ChildProcess
from runtime.child.control_groups import ControlGroups
from runtime.child.forked import FOLDER_MISSING
from runtime.child.host_process import HostGone, HostProcess
from runtime.child.hosts import Hosts
from runtime.child.remote_child import RemoteMachines
from runtime.errors import ChildFailed, ChildLost
from runtime.registry import Worker
from runtime.sandbox import programs


@dataclass(frozen=True, slots=True)
class LaunchContext:
    """What launchers share."""

    hosts: Hosts
    groups: ControlGroups
    environ: Mapping[str, str]
    """The variables that children may get; see :mod:`runtime.child.environment`."""
    machines: RemoteMachines | None = None
    """Those elsewhere, for a pool whose workers they execute."""


class Launcher(Protocol):
    """Starts the children of all workers of one type."""

    def warm(self, worker: Worker) -> None:
        """Prepare the worker, so that its first run need not wait. Raises ChildFailed."""

    def start(self, worker: Worker, environ: Mapping[str, str], line: bytes) -> Child:
        """Start a child for a run. Raises ChildFailed.

        ``environ`` is what the run adds to the worker's environment; ``line``, if it is
        not empty, is the first line that the child gets.
        """


class ProcessLauncher(ABC):
    """A launcher whose children are processes on this machine, started by a host."""

    def __init__(self, context: LaunchContext) -> None:
        self._context = context

    @abstractmethod
    def command(self, worker: Worker) -> list[str] | None:
        """What is executed; None: the host forks the worker that it has imported. Raises ChildFailed."""

    @abstractmethod
    def warm(self, worker: Worker) -> None:
        """Prepare the worker, so that its first run need not wait. Raises ChildFailed."""

    def start(self, worker: Worker, environ: Mapping[str, str], line: bytes) -> Child:
        """Have the host start a child, in a control group if the worker's memory is limited."""
        try:
            return self.start_in(self._context.hosts.for_worker(worker), worker, environ, line)
        except HostGone:  # it was ended just now; nothing of the run was started
            return self.start_in(self._context.hosts.for_worker(worker), worker, environ, line)

    def start_in(
        self, host: HostProcess, worker: Worker, environ: Mapping[str, str], line: bytes
    ) -> ChildProcess:
        """The same in this host. Raises HostGone where that has ended."""
        if not worker.folder.is_dir():
            raise ChildLost(FOLDER_MISSING)
        request = {
            "type": "start",
            "command": self.command(worker),
            "folder": str(worker.folder),
            "environ": dict(environ),
            "memory_bytes": worker.limits.memory_bytes,
            "open_files": worker.limits.open_files,
        }
        group = self._context.groups.make(worker.limits.memory_bytes)
        try:
            return host.start(request, line, group)
        except ChildFailed:
            if group is not None:
                group.remove()
            raise


class CommandLauncher(ProcessLauncher):
    """A process launcher that executes a program for each run."""

    def warm(self, worker: Worker) -> None:
        """See whether its program can be executed. Nothing is prepared: its host is started in no time,
        and there may be many such workers."""
        command = self.command(worker)
        if command:
            self._find_interpreter(command[0])

    def find(self, program: str) -> str:
        """The path of a program. Raises ChildFailed if there is none that may be executed."""
        path = shutil.which(program, path=self._context.environ.get("PATH"))
        if path is None:
            name = os.path.basename(program)
            if os.path.isfile(program):
                raise ChildFailed(f"The program {name!r} is not executable; allow it with chmod +x.")
            raise ChildFailed(f"The program {name!r} was not found; install it where the pool runs.")
        return path

    def _find_interpreter(self, program: str) -> None:
        """Raises ChildFailed where the first line of a script names a program that is not there."""
        name = os.path.basename(program)
        *_, last = programs.with_interpreters(Path(program))
        if not os.access(last, os.X_OK):
            raise ChildFailed(f"The program {name!r} needs {last}, which is not there or not executable.")
        wanted = programs.asked_of_env(Path(program))
        if wanted and shutil.which(wanted, path=self._context.environ.get("PATH")) is None:
            raise ChildFailed(f"The program {name!r} needs {wanted!r}, which is not on the PATH of the pool.")
