"""The package ``branchline`` for JavaScript, as tests execute it."""

from __future__ import annotations

import shutil
import subprocess

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
