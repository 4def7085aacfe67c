"""Becomes a browser that is told of no change of this machine's network.

Another test may lay a line to a namespace meanwhile (:mod:`tests.support.namespace`). The kernel tells
Chromium of that by a netlink socket, and Chromium then ends whatever it is asking of any server with
ERR_NETWORK_CHANGED, on this machine as well. Without such a socket it takes the network as it is.
"""

from __future__ import annotations

import errno
import os
import shlex
import socket
import sys
from pathlib import Path

from runtime.sandbox import bpf, landlock, seccomp, syscalls

_CHECKOUT = Path(__file__).parents[2]


def unaware(program: str, folder: Path) -> str:
    """The path of a script in ``folder`` that becomes ``program``; its own where no call can be refused."""
    if seccomp.supported() is not None:
        return program
    script = folder / "browser"
    command = shlex.join([sys.executable, "-m", __name__, program])
    script.write_text(f'#!/bin/sh\nexport PYTHONPATH={shlex.quote(str(_CHECKOUT))}\nexec {command} "$@"\n')
    script.chmod(0o700)
    return str(script)


def _refuse_netlink() -> None:
    """Have this process make no netlink socket, nor what it becomes and starts. Raises OSError."""
    where = syscalls.architecture()
    number = syscalls.number("socket", where) if where else None
    if where is None or number is None:
        raise OSError(errno.ENOSYS, "the system calls of this machine are not known")
    refused = bpf.never(0, [socket.AF_NETLINK], bpf.fail(errno.EAFNOSUPPORT))
    instructions = [*bpf.for_architecture(where.audit, bpf.ALLOW), *bpf.call(number, refused), bpf.ALLOW]
    landlock.refuse_new_privileges()
    seccomp.install(bpf.assemble(instructions))


if __name__ == "__main__":
    _refuse_netlink()
    os.execv(sys.argv[1], sys.argv[1:])
