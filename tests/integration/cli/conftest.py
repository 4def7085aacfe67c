"""The command line, called as a user and a script call it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.settings import CHECKOUT
from runtime.testing.ports import free_port
from tests.support.command_line import Command


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def branchline(home: Path) -> Command:
    """Call it with a data folder of its own, where nothing listens."""
    environ = {
        "PATH": os.environ["PATH"],
        "BRANCHLINE_HOME": str(home),
        "PORT": str(free_port()),
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
    }

    def call(*arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "runtime", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=CHECKOUT,
            env=environ | more,
        )

    return call


@pytest.fixture
def migrated(branchline: Command) -> Command:
    assert branchline("migrate").returncode == 0
    return branchline
