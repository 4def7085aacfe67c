"""Control groups: they limit the memory of all processes of a run together.

A pool process makes them beside its own group, if the group above was delegated to it
(Linux, cgroup v2), and a child enters its group before the worker's code runs. Whoever
delegates a group marks it, as systemd does. A group without the mark belongs to
somebody else and is left alone, even if it happens to be writable.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from runtime.system import processes

log = logging.getLogger(__name__)

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_MARK = "user.delegate"
_NAME = re.compile(r"branchline-(?P<pid>\d+)-\d+")
_EMPTY_WITHIN = 2.0
"""Seconds in which the kernel must have ended what was killed."""
_POLL_INTERVAL = 0.01
"""Seconds between two attempts to remove a group."""


class NotDelegated(LookupError):
    """No groups can be made here; the message says why."""


class ControlGroup:
    """The group of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def entrance(self) -> Iterator[list[int]]:
        """A descriptor: a process that writes ``0`` to it enters the group, whatever else it may reach.

        Raises OSError.
        """
        descriptor = os.open(self.path / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            yield [descriptor]
        finally:
            os.close(descriptor)

    def oom_killed(self) -> bool:
        """Whether the kernel has killed a process in it because the group's memory was used up."""
        try:
            counts = dict(line.split() for line in (self.path / "memory.events").read_text().splitlines())
        except OSError:
            return False
        return int(counts.get("oom_kill", 0)) > 0

    def remove(self) -> None:
        """Kill what is in it, and remove it. If that takes too long, the next pool process removes it."""
        try:
            (self.path / "cgroup.kill").write_text("1")
        except OSError:
            pass  # not before Linux 5.14; there the host kills all that descends from the child
        until = time.monotonic() + _EMPTY_WITHIN
        while not self._is_removed() and time.monotonic() < until:
            time.sleep(_POLL_INTERVAL)

    def _is_removed(self) -> bool:
        try:
            self.path.rmdir()
        except OSError:
            return not self.path.exists()
        return True


class DelegatedGroup:
    """The group that was delegated to this pool process, and in which it makes those of its runs."""

    _numbers = itertools.count(1)

    def __init__(self) -> None:
        """Removes the groups that dead pool processes have left. Raises NotDelegated."""
        self._path = _delegated()
        try:
            (self._path / "cgroup.subtree_control").write_text("+memory")
        except OSError as error:
            raise NotDelegated(f"memory cannot be limited below {self._path}: {error.strerror}") from error
        for group in self._path.iterdir():
            made = _NAME.fullmatch(group.name)
            if made and not processes.is_alive(int(made["pid"])):
                ControlGroup(group).remove()

    def make(self, memory_bytes: int) -> ControlGroup:
        """A group whose processes together may use ``memory_bytes``. Raises OSError."""
        path = self._path / f"branchline-{os.getpid()}-{next(self._numbers)}"
        path.mkdir()
        try:
            (path / "memory.max").write_text(str(memory_bytes))
            swap = path / "memory.swap.max"
            if swap.exists():  # not where the kernel does not account for swap
                swap.write_text("0")
        except OSError:
            path.rmdir()
            raise
        return ControlGroup(path)


class ControlGroups:
    """Makes groups for runs where that is possible; logs why where it is not."""

    def make(self, memory_bytes: int | None) -> ControlGroup | None:
        """A group whose processes together may use ``memory_bytes``.

        None where there is no limit, or no group can be made.
        """
        if memory_bytes is None or self._delegated is None:
            return None
        try:
            return self._delegated.make(memory_bytes)
        except OSError as error:
            log.warning(
                "no control group could be made, so a run's processes are limited one by one: %s", error
            )
            return None

    @cached_property
    def _delegated(self) -> DelegatedGroup | None:
        try:
            return DelegatedGroup()
        except NotDelegated as reason:
            log.info("memory_bytes limits the processes of a run one by one: %s", reason)
            return None


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
