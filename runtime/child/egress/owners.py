"""Whose a connection is: the kernel says which socket is at its other end, and which processes hold it.

So a run needs no secret to say who it is: it could be stolen, would stand in every URL,
and a library that read it while the worker was imported would use the wrong one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TypeVar

from runtime.sandbox.namespaces import PORT
from runtime.system import processes

T = TypeVar("T")

_LOCAL, _REMOTE, _INODE = 1, 2, 9
"""Columns of ``/proc/PID/net/tcp``."""


def owner(host: int, port: int, candidates: Callable[[], Iterable[tuple[int, T]]]) -> T | None:
    """Which candidate has connected from ``port`` in the network of the process ``host``.

    A candidate is a process, by its pid, and what is returned for it; it has what its
    descendants have. None: nobody, any more.
    """
    inode = _socket(host, port)
    if inode is None:
        return None
    name = f"socket:[{inode}]"
    for pid, candidate in candidates():
        if _holds(pid, name) or any(_holds(below, name) for below in processes.descendants(pid)):
            return candidate
    return None


def _socket(host: int, port: int) -> str | None:
    """The inode of the socket that is connected from ``port`` to the gateway's."""
    try:
        with open(f"/proc/{host}/net/tcp", encoding="ascii") as table:
            lines = table.readlines()[1:]
    except OSError:
        return None
    for line in lines:
        columns = line.split()
        ends = (columns[_LOCAL].rpartition(":")[2], columns[_REMOTE].rpartition(":")[2])
        if ends == (f"{port:04X}", f"{PORT:04X}"):
            return columns[_INODE]
    return None


def _holds(pid: int, name: str) -> bool:
    """Whether a process has a descriptor of that name."""
    folder = f"/proc/{pid}/fd"
    try:
        descriptors = os.listdir(folder)
    except OSError:
        return False
    return any(_name(f"{folder}/{descriptor}") == name for descriptor in descriptors)


def _name(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
