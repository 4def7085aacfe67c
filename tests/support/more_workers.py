"""Workers of ``tests/more_workers``, for the stacks that need them: each costs a pool a process."""

from __future__ import annotations

import shutil
from pathlib import Path

from runtime.settings import CHECKOUT

FOLDER = CHECKOUT / "tests" / "more_workers"


def with_workers(home: Path, *names: str) -> str:
    """The WORKERS_PATH of a stack in ``home`` that has these beside the workers of every stack."""
    for name in names:
        shutil.copytree(FOLDER / name, home / "workers" / name, ignore=shutil.ignore_patterns("__pycache__"))
    return f"{CHECKOUT}/tests/workers:{home}/workers"
