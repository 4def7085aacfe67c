"""A spare: a child that is started before there is a run for it, where a program takes long to start.

It has no run's environment, so it is told that as the first line of its input, and the run after
it. A Python worker needs none of these: its host forks what it has imported already.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping

from runtime.child.child_process import ChildProcess
from runtime.child.host_process import HostProcess
from runtime.system import processes

AHEAD = {"BRANCHLINE_AHEAD": "1"}
"""The environment by which a program learns that it is a spare."""


def take(host: HostProcess, environ: Mapping[str, str], line: bytes) -> ChildProcess | None:
    """Make the oldest of the host's spares the child of a run; None where there is none that lives."""
    while host.spares:
        spare = host.spares.pop(0)
        if spare.wait(0) is None and not processes.has_ended(spare.pid):
            message = {"type": "environ", "environ": host.environ_of(environ)}
            spare.send(json.dumps(message).encode() + b"\n" + line)
            host.mark_used()
            return spare
        threading.Thread(target=discard, args=(spare,), daemon=True).start()
    return None


def discard(spare: ChildProcess) -> None:
    """End a spare, and close what it had."""
    spare.stop(0)
    spare.close()


def discard_all_but_one(host: HostProcess) -> None:
    """End all spares of a host but one."""
    while len(host.spares) > 1:
        discard(host.spares.pop())
