"""A network of its own: a process leaves the machine's network for an empty one, for good.

In a new network namespace there is no interface but a loopback, so nothing can be reached
by any protocol or port, known or not. What is let out of it goes through one listening
socket, which is made inside and handed to a process outside: that accepts there, and
connects in its own network (see :mod:`runtime.child.egress`).

Root may make such a namespace. Others need a user namespace around it, in which they are
themselves and have power over nothing but that empty network; they give it up at once.

This module imports nothing of ours: it is also executed by itself, to find out whether
the machine can do it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys
from functools import cache

PORT = 3128
"""Where the listening socket is, in every such network: the customary port of a proxy."""

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_IFF_UP = 1
_INTERFACE = struct.Struct("=16sH22x")  # struct ifreq
_CAPABILITY_VERSION_3 = 0x20080522
_BACKLOG = 128
_PROBE_TIMEOUT = 10.0


def enter() -> socket.socket:
    """Move this process into a network of its own; the socket that listens there.

    It must have one thread only. Raises OSError.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        _unshare(_CLONE_NEWNET)
    else:
        _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")
    _raise_loopback()
    listener = socket.create_server(("127.0.0.1", PORT), backlog=_BACKLOG)
    if uid != 0:
        _drop_capabilities()
    return listener


@cache
def missing() -> str | None:
    """Why a process of this user can have no network of its own; None: it can."""
    if sys.platform != "linux":
        return f"only Linux has network namespaces, and this is {sys.platform}"
    import subprocess  # not for hosts, each of whose forks would pay for it

    try:
        probe = subprocess.run(
            [sys.executable, "-IS", __file__], capture_output=True, text=True, timeout=_PROBE_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it could not be found out ({error})"
    if probe.returncode == 0:
        return None
    return probe.stdout.strip() or f"the probe ended with {probe.returncode}"


def _probe() -> int:
    try:
        enter().close()
    except OSError as error:
        print(_reason(error))
        return 1
    return 0


def _reason(error: OSError) -> str:
    """What an administrator can do something about."""
    if error.errno == errno.ENOSPC:
        return "the limit of namespaces is reached (sysctl user.max_net_namespaces, user.max_user_namespaces)"
    if error.errno in (errno.EPERM, errno.EACCES):
        if os.geteuid() == 0:
            return "root may make no network namespace here; a container needs CAP_SYS_ADMIN"
        return (
            "this user may make no namespaces (sysctl kernel.unprivileged_userns_clone, "
            "kernel.apparmor_restrict_unprivileged_userns, or a container's seccomp profile)"
        )
    return f"a network namespace cannot be made ({error.strerror})"


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        answer = fcntl.ioctl(control, _SIOCGIFFLAGS, _INTERFACE.pack(b"lo", 0))
        _, flags = _INTERFACE.unpack(answer)
        fcntl.ioctl(control, _SIOCSIFFLAGS, _INTERFACE.pack(b"lo", flags | _IFF_UP))


def _unshare(flags: int) -> None:
    _check(_libc().unshare(flags), "unshare")


def _drop_capabilities() -> None:
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _check(_libc().capset(header, bytes(24)), "capset")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


if __name__ == "__main__":
    sys.exit(_probe())
