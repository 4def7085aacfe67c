"""How tests call the command line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

from runtime.testing.stack import Stack
from tests.support.forked import Forks

Command = Callable[..., "subprocess.CompletedProcess[str]"]
"""Calls `branchline` with arguments; ``stdin`` is what it reads, other keywords are variables."""


def doctor(forks: Forks, stack: Stack) -> list[dict[str, Any]]:
    """What `branchline doctor` finds, of which something is to be mended."""
    done = forks.call(("doctor", "--json"), stack.environ)
    assert done.returncode == 1, (done.stdout, done.stderr)
    return json.loads(done.stdout)  # type: ignore[no-any-return]
