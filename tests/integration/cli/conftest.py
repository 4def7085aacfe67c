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
from tests.support.forked import Forks


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def environ(home: Path) -> dict[str, str]:
    """A data folder of its own, and addresses where nothing listens."""
    return {
        "PATH": os.environ["PATH"],
        "BRANCHLINE_HOME": str(home),
        "PORT": str(free_port()),
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
    }


@pytest.fixture
def branchline(environ: dict[str, str], forks: Forks) -> Command:
    """Call it, as a process that has all commands imported."""

    def call(*arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return forks.call(arguments, environ | more, stdin)

    return call


@pytest.fixture
def branchline_from_python(environ: dict[str, str]) -> Command:
    """Call it as a user does: Python starts, and imports what the command needs."""

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
