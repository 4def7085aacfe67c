"""Control groups: they hold all processes of a run together to the memory that its worker may use.

A pool process makes them beside its own, where the group above was delegated to it
(Linux, cgroup v2), and a child enters its group before the worker's code runs. Who
delegates a group marks it, as systemd does; what is not marked is somebody else's,
also where we might write to it.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from pathlib import Path

from runtime import processes

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_MARK = "user.delegate"
_NAME = re.compile(r"branchline-(?P<pid>\d+)-\d+")
_EMPTY_WITHIN = 2.0
"""Seconds in which the kernel must have ended what was killed."""
_LOOK_AGAIN = 0.01


class NotDelegated(LookupError):
    """No groups can be made here; says why."""


class Group:
    """The group of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def overdrawn(self) -> bool:
        """Whether the kernel has killed a process in it, which wanted more memory than there was."""
        try:
            counts = dict(line.split() for line in (self.path / "memory.events").read_text().splitlines())
        except OSError:
            return False
        return int(counts.get("oom_kill", 0)) > 0

    def end(self) -> None:
        """Kill what is in it, and remove it. What does not end is left to the next pool process."""
        try:
            (self.path / "cgroup.kill").write_text("1")
        except OSError:
            pass  # older kernels (before 5.14) have none: the host kills all that descends from the child
        until = time.monotonic() + _EMPTY_WITHIN
        while not self._removed() and time.monotonic() < until:
            time.sleep(_LOOK_AGAIN)

    def _removed(self) -> bool:
        try:
            self.path.rmdir()
        except OSError:
            return not self.path.exists()
        return True


class Groups:
    """Makes the groups of a pool process's runs."""

    _numbers = itertools.count(1)

    def __init__(self) -> None:
        """Ends the groups that dead pool processes have left. Raises NotDelegated."""
        self._above = _delegated()
        try:
            (self._above / "cgroup.subtree_control").write_text("+memory")
        except OSError as error:
            raise NotDelegated(f"memory cannot be limited below {self._above}: {error.strerror}") from error
        for group in self._above.iterdir():
            made = _NAME.fullmatch(group.name)
            if made and not processes.is_alive(int(made["pid"])):
                Group(group).end()

    def make(self, memory_bytes: int) -> Group:
        """A group for a run, all of whose processes may use so much. Raises OSError."""
        path = self._above / f"branchline-{os.getpid()}-{next(self._numbers)}"
        path.mkdir()
        try:
            (path / "memory.max").write_text(str(memory_bytes))
            swap = path / "memory.swap.max"
            if swap.exists():  # else the kernel does not count it
                swap.write_text("0")
        except OSError:
            path.rmdir()
            raise
        return Group(path)


def _delegated() -> Path:
    """The group above this process's. Raises NotDelegated."""
    if not (_ROOT / "cgroup.controllers").exists():
        raise NotDelegated("there is no cgroup v2")
    own = next(line for line in _OWN.read_text().splitlines() if line.startswith("0::"))
    path = _ROOT / own.removeprefix("0::/")
    try:
        if path != _ROOT and os.getxattr(path.parent, _MARK) == b"1":
            return path.parent
    except OSError:
        pass  # it has no mark
    raise NotDelegated("the control group above this pool's is not delegated to it")
