"""What this machine can do to keep a run in its place."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache

from runtime.sandbox import identity, landlock, seccomp
from runtime.system import processes


@dataclass(frozen=True, slots=True)
class Machine:
    """What the kernel offers, and to this user."""

    landlock: int
    """The ABI of Landlock; 0: there is none."""
    no_landlock: str | None
    """Why there is none."""
    signals: bool
    """Whether Landlock keeps signals and abstract sockets within a run."""
    no_system_calls: str | None
    """Why system calls cannot be filtered; None: they can."""
    root: bool
    no_uids: str | None
    """Why runs can have no uids of their own; None: they can."""
    linux: bool = True
    """Whether there can be a sandbox at all."""


@cache
def here() -> Machine:
    """This machine, as the process's user finds it."""
    if not processes.LINUX:
        why = f"only Linux has a sandbox, and this is {sys.platform}"
        return Machine(0, why, False, why, identity.is_root(), why, linux=False)
    root = identity.is_root()
    no_uids = None
    if not root:
        no_uids = "only a pool that root has started can give uids"
    elif not identity.can_give_uids():
        no_uids = "the uids from 1879048192 on do not exist in this container"
    return Machine(
        landlock=landlock.abi(),
        no_landlock=landlock.missing(),
        signals=bool(landlock.scopes() & landlock.SCOPE_SIGNALS),
        no_system_calls=seccomp.supported(),
        root=root,
        no_uids=no_uids,
    )
