"""Which system calls a sandboxed process may make: a seccomp filter.

Landlock decides on files, on TCP ports and, in later versions, on signals and abstract
sockets. What is left is here: calls that act on other processes by their pid, that make
or enter namespaces, that reach what all processes of a user share (System V IPC, keys),
and those that only a privileged program needs. What is refused fails with EPERM, as if
the user had no right to it, so that programs go another way or say so. ``clone3`` and
calls that are newer than this file fail with ENOSYS, because libraries try again by an
older call then; their arguments a filter cannot see, or nobody has judged them.

Signals are not filtered. A filter sees a pid and not whose it is, so it could not tell a
worker's own processes from others; Landlock (ABI 6) and an own uid can.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from typing import Final, NamedTuple

from runtime.sandbox import bpf, syscalls
from runtime.sandbox.bpf import Instruction
from runtime.sandbox.syscalls import Architecture

_EPERM: Final = bpf.fail(errno.EPERM)
_ENOSYS: Final = bpf.fail(errno.ENOSYS)


class Profile(NamedTuple):
    """What a filter is made for."""

    own_uid: bool
    """Whether the process has a uid of its own. Under the pool's, it owns the pool's files:
    Landlock keeps it from opening them, but not from changing their modes and owners."""
    strict: bool
    """Whether TCP is the only kind of socket it may make, and to connect all that it may do with one:
    runs of one worker share a network, and what listens there could be reached by the others."""


_REFUSED: Final = (
    # other processes: their memory, descriptors and pages
    "kcmp", "migrate_pages", "move_pages", "pidfd_getfd", "process_madvise", "process_mrelease",
    "process_vm_readv", "process_vm_writev", "ptrace",
    # what a user's processes share, in no folder of the file system
    "add_key", "keyctl", "request_key",
    "mq_open", "mq_unlink",
    "msgctl", "msgget", "msgrcv", "msgsnd",
    "semctl", "semget", "semop", "semtimedop",
    "shmat", "shmctl", "shmdt", "shmget",
    # namespaces and mounts
    "chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount",
    "open_tree", "open_tree_attr", "pivot_root", "setns", "umount2",
    # the kernel's own machinery, where most of its faults have been found
    "bpf", "fanotify_init", "io_uring_enter", "io_uring_register", "io_uring_setup", "modify_ldt",
    "open_by_handle_at", "perf_event_open", "userfaultfd",
    # the machine
    "acct", "adjtimex", "clock_adjtime", "clock_settime", "delete_module", "finit_module",
    "init_module", "ioperm", "iopl", "kexec_file_load", "kexec_load", "quotactl", "quotactl_fd",
    "reboot", "setdomainname", "sethostname", "settimeofday", "swapoff", "swapon", "syslog", "vhangup",
)  # fmt: skip

_REFUSED_UNDER_THE_POOLS_UID: Final = (
    # modes, owners, attributes and times of files, which their owner may always change
    "chmod", "chown", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchownat", "file_setattr",
    "fremovexattr", "fsetxattr", "futimesat", "lchown", "lremovexattr", "lsetxattr", "removexattr",
    "removexattrat", "setxattr", "setxattrat", "utime", "utimensat", "utimes",
    # another identity, which root may take
    "capset", "setfsgid", "setfsuid", "setgid", "setgroups", "setregid", "setresgid", "setresuid",
    "setreuid", "setuid",
)  # fmt: skip

_NEW_NAMESPACE: Final = 0x7E020000
"""All ``CLONE_NEW…`` but that of time, whose bit means something else to ``clone``."""
_NEW_TIME_NAMESPACE: Final = 0x80
_CLONE_PARENT: Final = 0x8000
_DEVICE: Final = 0x2000
"""The bit of a file's type that block and character devices have, and nothing else that ``mknod`` makes."""
_PRIO_PROCESS, _IOPRIO_PROCESS = 0, 1

_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_STREAM, _DGRAM, _SEQPACKET = 1, 2, 5
_SOCKET_TYPE: Final = 0xF
"""The part of a socket's type that is no flag."""
_TCP: Final = 6
_FASTOPEN: Final = 0x20000000
"""``MSG_FASTOPEN``: connects without ``connect``, which Landlock does not see."""
_TCP_FASTOPEN_CONNECT, _TCP_REPAIR = 30, 19

_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_FS_IOC_SETFLAGS, _FS_IOC_FSSETXATTR = 0x40086602, 0x401C5820


def supported() -> str | None:
    """Why this machine cannot filter system calls; None: it can."""
    if sys.platform != "linux":
        return "only Linux has seccomp"
    if syscalls.architecture() is None:
        return f"the system calls of {os.uname().machine} are not known"
    if _libc().syscall(_SECCOMP[_architecture().column], _GET_ACTION_AVAIL, 0, ctypes.byref(_RET_ERRNO)):
        return "the kernel has no seccomp filters"
    return None


def program(profile: Profile) -> bytes:
    """The filter for ``profile``. Made once, it serves any number of processes.

    Only where :func:`supported` finds no fault.
    """
    where = _architecture()
    refused: tuple[str, ...] = _REFUSED
    if not profile.own_uid:
        refused += _REFUSED_UNDER_THE_POOLS_UID
    if profile.strict:
        refused += ("bind", "listen")
    instructions = bpf.for_architecture(where.audit, _EPERM)
    if where.foreign is not None:
        instructions += bpf.number_has(where.foreign, _EPERM)
    instructions += bpf.number_above(syscalls.HIGHEST, _ENOSYS)
    # These first: for all others the kernel remembers the answer and does not run the filter.
    for name, tests in _tests(profile).items():
        number = syscalls.number(name, where)
        if number is not None:
            instructions += bpf.call(number, tests)
    instructions += bpf.number_among(_numbers(("clone3",), where), _ENOSYS)
    instructions += bpf.number_among(_numbers(refused, where), _EPERM)
    return bpf.assemble([*instructions, bpf.ALLOW])


def install(program: bytes) -> None:
    """Filter the calls of this process and of all that it starts from now on, for ever.

    Its caller has set ``no_new_privs``. Raises OSError.
    """
    _PROGRAM.length = len(program) // 8
    _PROGRAM.filter = program
    if _libc().syscall(_SECCOMP[_architecture().column], _SET_MODE_FILTER, _FLAGS, _PROGRAM_POINTER):
        number = ctypes.get_errno() or errno.EBUSY  # a thread has another filter: no errno is set
        raise OSError(number, f"seccomp: {os.strerror(number)}")


def _tests(profile: Profile) -> dict[str, list[Instruction]]:
    """What is looked at in calls that are refused for some arguments only."""
    myself = bpf.only(0, [0], _EPERM)
    """The pid 0 is the calling process; that of another would be somebody else's."""
    return {
        "clone": bpf.no_bit(0, _NEW_NAMESPACE | _CLONE_PARENT, _EPERM),
        "unshare": bpf.no_bit(0, _NEW_NAMESPACE | _NEW_TIME_NAMESPACE, _EPERM),
        "prlimit64": myself,
        "sched_setaffinity": myself,
        "sched_setattr": myself,
        "sched_setparam": myself,
        "sched_setscheduler": myself,
        # Of a group or a user, 0 is the caller's as well, and that of the user is the pool's.
        "setpriority": [*bpf.only(0, [_PRIO_PROCESS], _EPERM), *bpf.only(1, [0], _EPERM)],
        "ioprio_set": [*bpf.only(0, [_IOPRIO_PROCESS], _EPERM), *bpf.only(1, [0], _EPERM)],
        "personality": bpf.only(0, [0, 0xFFFFFFFF], _EPERM),  # Linux' own, and the question which it is
        "mknod": bpf.no_bit(1, _DEVICE, _EPERM),
        "mknodat": bpf.no_bit(2, _DEVICE, _EPERM),
        "ioctl": _ioctl(profile),
        "socket": _socket(profile),
        "socketpair": _socketpair(profile),
        "sendto": bpf.no_bit(3, _FASTOPEN, _EPERM),
        "sendmsg": bpf.no_bit(2, _FASTOPEN, _EPERM),
        "sendmmsg": bpf.no_bit(3, _FASTOPEN, _EPERM),
        "setsockopt": bpf.if_any(1, [_TCP], bpf.never(2, [_TCP_FASTOPEN_CONNECT, _TCP_REPAIR], _EPERM)),
    }


def _ioctl(profile: Profile) -> list[Instruction]:
    """No typing for whoever sits at the terminal; no attributes of files that are the pool's as well."""
    attributes = [] if profile.own_uid else [_FS_IOC_SETFLAGS, _FS_IOC_FSSETXATTR]
    return bpf.never(1, [_TIOCSTI, _TIOCLINUX, *attributes], _EPERM)


def _socket(profile: Profile) -> list[Instruction]:
    """The internet's protocols, but none that does what TCP does by another name.

    MPTCP and SMC are asked for as a stream with a protocol of their own, and Landlock's
    rules for TCP do not hold for them.
    """
    families = [_INET, _INET6] if profile.strict else [_UNIX, _INET, _INET6, _NETLINK]
    types = [_STREAM] if profile.strict else [_STREAM, _DGRAM]
    internet = [
        *bpf.only(1, types, _EPERM, mask=_SOCKET_TYPE),
        *bpf.if_any(1, [_STREAM], bpf.only(2, [0, _TCP], _EPERM), mask=_SOCKET_TYPE),
    ]
    return [*bpf.only(0, families, _EPERM), *bpf.if_any(0, [_INET, _INET6], internet)]


def _socketpair(profile: Profile) -> list[Instruction]:
    """Pairs are what asyncio wakes its loop with. One of datagrams can send to any other socket, too."""
    if not profile.strict:
        return []
    return bpf.only(1, [_STREAM, _SEQPACKET], _EPERM, mask=_SOCKET_TYPE)


def _numbers(names: tuple[str, ...], where: Architecture) -> list[int]:
    numbers = (syscalls.number(name, where) for name in names)
    return [number for number in numbers if number is not None]


def _architecture() -> Architecture:
    where = syscalls.architecture()
    if where is None:
        raise OSError(errno.ENOSYS, "the system calls of this machine are not known")
    return where


# ── the kernel ──────────────────────────────────────────────────────────────

_SECCOMP: Final = (317, 277)
"""The number of the call ``seccomp``, by column; the C library has no function for it."""
_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
_RET_ERRNO: Final = ctypes.c_uint32(0x00050000)
_FLAGS: Final = 1 | 4
"""All threads (TSYNC), and none of the slower ways of guarding against Spectre that the
kernel would choose for a filtered process (SPEC_ALLOW): they guard a process's memory
against itself."""


class _Program(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


# Made once: a child installs its filter while somebody waits.
_PROGRAM: Final = _Program()
_PROGRAM_POINTER: Final = ctypes.byref(_PROGRAM)
_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _libc() -> ctypes.CDLL:
    if _LIBC is None:
        raise OSError(errno.ENOSYS, "only Linux has seccomp")
    return _LIBC
