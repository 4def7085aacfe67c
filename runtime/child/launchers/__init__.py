"""How the child of a run is started: one launcher for each worker type.

A new type is a value of WorkerType, a module here, and a line of the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from runtime.child.launchers.exec import ExecLauncher
from runtime.child.launchers.http import HttpLauncher
from runtime.child.launchers.launcher import LaunchContext, Launcher
from runtime.child.launchers.node import NodeLauncher
from runtime.child.launchers.python import PythonLauncher
from runtime.child.launchers.remote import RemoteLauncher
from runtime.registry import WorkerType

__all__ = ["LAUNCHERS", "LaunchContext", "Launcher"]

LAUNCHERS: Mapping[WorkerType, Callable[[LaunchContext], Launcher]] = MappingProxyType(
    {
        WorkerType.PYTHON: PythonLauncher,
        WorkerType.NODE: NodeLauncher,
        WorkerType.EXEC: ExecLauncher,
        WorkerType.HTTP: HttpLauncher,
        WorkerType.REMOTE: RemoteLauncher,
    }
)
