"""The package ``branchline`` for JavaScript, as tests execute it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from runtime.settings import CHECKOUT

PACKAGE = CHECKOUT / "runtime" / "node_sdk"
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")


def node(*arguments: str, stdin: str = "") -> str:
    """What Node.js prints."""
    done = subprocess.run(
        ["node", *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def install(folder: Path, library: str) -> None:
    """Make a worker's folder, of ES modules, in which this package and a library of npm are installed.

    Skips the tests where npm has it not; in CI it is there.
    """
    (folder / "package.json").write_text('{"type": "module"}')
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--prefer-offline", library],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode and os.environ.get("CI") != "true":
        pytest.skip(f"{library} cannot be installed with npm")
    assert done.returncode == 0, done.stderr
    (folder / "node_modules" / "branchline").symlink_to(PACKAGE)
