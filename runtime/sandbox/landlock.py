"""Landlock: the kernel's sandbox that a process puts itself into, for good, without privileges.

A process makes a *ruleset*, which says what it will be refused and where not, and enters
it. From then on it is in a *domain*, and so is all that it starts; a further ruleset makes
a domain inside that one and takes more away. Nothing gives anything back. Beside what the
rules say, a process in a domain can never trace a process outside it, which covers
``/proc/PID/mem``, ``environ`` and ``fd``, and can neither mount nor change what is mounted.

The kernel numbers what it can (the *ABI*), and each number only adds:

=====  ======  =================================================================
1      5.13    reading, writing, making, removing and executing files
2      5.19    moving files from one folder to another
3      6.2     truncating files
4      6.7     binding and connecting TCP by port
5      6.10    ``ioctl`` of devices
6      6.12    signals and abstract UNIX sockets, to processes outside the domain
=====  ======  =================================================================

See https://docs.kernel.org/userspace-api/landlock.html. Nothing here is made for speed but
:meth:`Ruleset.enter`, which a forked process calls.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable
from functools import cache

EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
REMOVE_DIR = 1 << 4
REMOVE_FILE = 1 << 5
MAKE_CHAR = 1 << 6
MAKE_DIR = 1 << 7
MAKE_REG = 1 << 8
MAKE_SOCK = 1 << 9
MAKE_FIFO = 1 << 10
MAKE_BLOCK = 1 << 11
MAKE_SYM = 1 << 12
REFER = 1 << 13
TRUNCATE = 1 << 14
IOCTL_DEV = 1 << 15

READ = READ_FILE | READ_DIR | EXECUTE
"""To use what is there."""
WRITE = (
    READ
    | WRITE_FILE
    | TRUNCATE
    | REMOVE_DIR
    | REMOVE_FILE
    | MAKE_DIR
    | MAKE_REG
    | MAKE_SOCK
    | MAKE_FIFO
    | MAKE_SYM
    | REFER
)
"""To do with a folder as one likes, but to make no devices in it."""
DEVICE = READ_FILE | WRITE_FILE | IOCTL_DEV
"""To use a device such as ``/dev/null``."""

SCOPE_ABSTRACT_UNIX_SOCKETS = 1 << 0
SCOPE_SIGNALS = 1 << 1

_ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""The rights that a file can have; the others are those of a folder."""
_FILES_OF_ABI = ((1, (1 << 13) - 1), (2, REFER), (3, TRUNCATE), (5, IOCTL_DEV))
_SCOPES_OF_ABI = ((6, SCOPE_ABSTRACT_UNIX_SOCKETS | SCOPE_SIGNALS),)

_CREATE_RULESET = 444
_ADD_RULE = 445
_RESTRICT_SELF = 446
"""The numbers of the system calls, which are the same on every architecture."""
_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
_ATTRIBUTES = struct.Struct("=QQQ")
_RULE = struct.Struct("=Qi")
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@cache
def abi() -> int:
    """The highest ABI of this kernel; 0 where it has no Landlock, see :func:`missing`."""
    return max(_version(), 0)


@cache
def missing() -> str | None:
    """Why there is no Landlock here; None where there is."""
    if _LIBC is None:
        return f"only Linux has it, and this is {sys.platform}"
    version = _version()
    if version >= 1:
        return None
    if -version == 95:  # EOPNOTSUPP
        return "this kernel was started without it (its parameter lsm= does not name landlock)"
    return f"this kernel refuses it ({os.strerror(-version)}); Linux has it since 5.13"


@cache
def files() -> int:
    """The rights on files that this kernel can take away."""
    return _of_abi(_FILES_OF_ABI)


@cache
def scopes() -> int:
    """What this kernel can keep within a domain: signals, abstract UNIX sockets."""
    return _of_abi(_SCOPES_OF_ABI)


def refuse_new_privileges() -> None:
    """Have no program that this process executes get more rights than it has; cannot be undone."""
    assert _LIBC is not None
    if _LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise _error("no_new_privs")


class Ruleset:
    """What a process is refused, and where not. It can be entered by this process and by its forks."""

    def __init__(self, scopes: int = 0) -> None:
        """Refuses every access to files that the kernel can refuse, but for those that are allowed.

        Raises OSError.
        """
        assert _LIBC is not None
        self._handled = files()
        attributes = _ATTRIBUTES.pack(self._handled, 0, scopes)
        # A kernel that does not know a field yet refuses a structure that has it.
        size = 24 if scopes else 8
        self._descriptor = _LIBC.syscall(_CREATE_RULESET, attributes, size, 0)
        if self._descriptor < 0:
            raise _error("landlock_create_ruleset")

    def allow(self, rights: int, descriptors: Iterable[tuple[int, bool]]) -> None:
        """Allow ``rights`` on files, and on all below folders. Raises OSError.

        ``descriptors``: see :func:`hold`.
        """
        assert _LIBC is not None
        rights &= self._handled
        for descriptor, is_folder in descriptors:
            rule = _RULE.pack(rights if is_folder else rights & _ON_FILES, descriptor)
            if _LIBC.syscall(_ADD_RULE, self._descriptor, _PATH_BENEATH, rule, 0) != 0:
                raise _error("landlock_add_rule")

    def enter(self) -> None:
        """Put this process into a new domain. New privileges must be refused before. Raises OSError."""
        assert _LIBC is not None
        if _LIBC.syscall(_RESTRICT_SELF, self._descriptor, 0) != 0:
            raise _error("landlock_restrict_self")

    def close(self) -> None:
        """Give the descriptor back; who has entered stays inside."""
        os.close(self._descriptor)


def hold(paths: Iterable[str]) -> list[tuple[int, bool]]:
    """Descriptors of files and folders, and whether each is a folder; what is not there is left out.

    A rule holds for the file itself, not for its name: what is later put in its place is not allowed.
    """
    held = []
    for path in paths:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        held.append((descriptor, stat.S_ISDIR(os.fstat(descriptor).st_mode)))
    return held


def _version() -> int:
    """The ABI, or the negative number of an error."""
    if _LIBC is None:
        return 0
    version = int(_LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION))
    return version if version >= 0 else -ctypes.get_errno()


def _of_abi(table: Iterable[tuple[int, int]]) -> int:
    return sum(bits for since, bits in table if abi() >= since)


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
