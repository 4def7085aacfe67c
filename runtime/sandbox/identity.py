"""Who a sandboxed process is: a uid of its own, and no capabilities.

Under a uid of its own a process is a stranger to the files and the processes of its pool
even where everything else fails, and the kernel counts its processes apart from those of
others. Only root can give uids away, and only a program whose files others may read can
do with one.
"""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import struct
import sys
from collections.abc import Iterable

from runtime.system import processes

_FIRST_UID = 0x70000000
"""The first of the uids that are given to runs. Neither people nor packages have such ones, nor
do container managers map theirs there; see https://systemd.io/UIDS-GIDS."""
_NO_GROUPS: list[int] = []
_SIGKILL = int(signal.SIGKILL)

_CAPSET = struct.Struct("=6I")
_CAPABILITY_VERSION_3 = 0x20080522
_DAC_OVERRIDE, _CHOWN, _KILL, _SETGID, _SETUID = 1, 0, 5, 6, 7
_KEPT = 1 << _DAC_OVERRIDE
"""What root keeps: its worker's files may belong to somebody else. Landlock decides what it may open."""
_KEPT_TO_GIVE_UIDS = _KEPT | 1 << _CHOWN | 1 << _KILL | 1 << _SETGID | 1 << _SETUID
_PR_SET_DUMPABLE = 4
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def is_root() -> bool:
    """Whether this process may give uids away."""
    return os.geteuid() == 0


def own_uid(pid: int) -> int:
    """The uid of the run whose process has this pid: while that lives, no other run has it."""
    return _FIRST_UID + pid


def can_give_uids() -> bool:
    """Whether such uids exist here; in a container, not all may."""
    try:
        with open("/proc/self/uid_map") as file:
            mapped = file.read()
    except OSError:
        return False
    last = _FIRST_UID + (1 << 22)  # the highest pid that Linux can be told to give
    ranges = (tuple(map(int, line.split())) for line in mapped.splitlines())
    return any(first <= _FIRST_UID and last < first + count for first, _, count in ranges)


def closed_to_others(paths: Iterable[str]) -> str | None:
    """The first of these files and folders that a stranger to it cannot reach; None if there is none."""
    for path in paths:
        names = path.strip("/").split("/")
        for depth in range(1, len(names) + 1):
            part = "/" + "/".join(names[:depth])
            try:
                mode = os.stat(part).st_mode
            except OSError:
                return part
            if not mode & (stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH):
                return part
    return None


def drop_capabilities(give_uids: bool) -> None:
    """Have root's process keep no power but to reach files, and to give uids away where it is to.

    The programs that it executes get none back, for it may get no new privileges. Raises OSError.
    """
    assert _LIBC is not None
    kept = _KEPT_TO_GIVE_UIDS if give_uids else _KEPT
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    if _LIBC.capset(header, _CAPSET.pack(kept, kept, 0, 0, 0, 0)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")


def become(uid: int, parent: int) -> None:
    """Have this process be ``uid`` for good, in no group but its own. Raises OSError.

    The kernel forgets then that the process is to end with its parent, and hides what it is
    from itself; so both are said again.
    """
    assert _LIBC is not None
    os.setgroups(_NO_GROUPS)
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    _LIBC.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    processes.die_with_parent(_SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
