"""How tests call the command line."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

Command = Callable[..., "subprocess.CompletedProcess[str]"]
"""Calls `branchline` with arguments; ``stdin`` is what it reads, other keywords are variables."""
