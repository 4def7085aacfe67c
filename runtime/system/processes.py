"""Processes and the kernel: who descends from whom, signals, and how an end is described.

The standard library only, and little of it: a child's host imports this, a pool's
guardian, and it stands before the start of every process of ``branchline up``
(:func:`become`).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator

LINUX = sys.platform == "linux"

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_CHILDREN = 1 << 16
"""Bytes of pids that are read at a time."""
_LIBC = ctypes.CDLL(None) if LINUX else None


def adopt_orphans() -> None:
    """Become the parent of all that descends from this process and loses its own."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(number: int) -> None:
    """Get the signal ``number`` when the parent ends."""
    _prctl(_PR_SET_PDEATHSIG, number)


def hide() -> None:
    """Let no other process of the same user look into this one, which has secrets in memory and environment.

    It leaves no core dump either. A program that it executes is not hidden.
    """
    _prctl(_PR_SET_DUMPABLE, 0)


def describe_exit(code: int) -> str:
    """An exit code as people read it: ``exit code 1``, or the signal of a negative one."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:  # most real-time signals have no name
        return f"signal {-code}"


def become(parent: int, program: list[str]) -> None:
    """Replace this process by ``program``, which gets SIGTERM when the process ``parent`` ends (Linux)."""
    die_with_parent(signal.SIGTERM)
    if LINUX and os.getppid() != parent:  # it ended before the kernel was asked
        sys.exit(1)
    os.execvp(program[0], program)


def threads() -> int:
    """How many threads this process has, those that Python does not know too."""
    if LINUX:
        return len(os.listdir("/proc/self/task"))
    import threading  # all children would pay for it, see runtime.sdk

    return threading.active_count()


def children_of(pid: int) -> list[int]:
    """The children of all threads of a process."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found += _children_of_thread(f"/proc/{pid}/task/{task}/children")
    except OSError:  # it has ended meanwhile, or this is no Linux
        pass
    return found


def descendants(pid: int) -> Iterator[int]:
    """All that descends from a process, the youngest first."""
    for child in children_of(pid):
        yield from descendants(child)
        yield child


def send_signal(pid: int, number: int) -> None:
    """Signal a process, if it is still there."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def signal_main_thread(pid: int, number: int) -> None:
    """Signal the main thread of a process, if it is still there, and so before what is signalled later.

    What a process gets, any of its threads may take, and another one may take the next signal
    meanwhile. Without ``tgkill`` (outside Linux; some C libraries) the process is signalled.
    """
    tgkill = getattr(_LIBC, "tgkill", None)
    if tgkill is None:
        send_signal(pid, number)
    else:
        tgkill(pid, pid, number)


def is_alive(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def has_ended(pid: int) -> bool:
    """Whether a process has ended, even if its parent has not been told yet. False outside Linux."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:
        return LINUX


def signal_group(pid: int, number: int) -> bool:
    """Signal a process group; whether something is left of it."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _children_of_thread(path: str) -> list[int]:
    # Not open(): this is read at every end of a child, and that would be most of its time.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while part := os.read(descriptor, _CHILDREN):
            parts.append(part)
    finally:
        os.close(descriptor)
    return [int(pid) for pid in b"".join(parts).split()]


def _prctl(option: int, value: int) -> None:
    if _LIBC is not None:
        _LIBC.prctl(option, value, 0, 0, 0)


if __name__ == "__main__":  # python processes.py PARENT PROGRAM …
    become(int(sys.argv[1]), sys.argv[2:])
