"""Files whose uploads and deletions are killed at any point: none is lost, doubled or left."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.settings import CHECKOUT


@pytest.mark.parametrize("uploads", [50, pytest.param(1000, marks=pytest.mark.soak)])
def test_uploads_that_are_killed_lose_double_and_leave_nothing(
    database_url: str, tmp_path: Path, uploads: int, record_property: Callable[[str, object], None]
) -> None:
    command = ["tests.support.upload_kills", database_url, str(tmp_path / "home"), str(uploads), "1"]
    ended = subprocess.run(
        [sys.executable, "-m", *command], cwd=CHECKOUT, capture_output=True, text=True, timeout=100 + uploads
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    record_property("found", found)

    assert found["uploaded"] >= uploads
    assert found["killed"] == found["lives"]
    assert (found["lost"], found["undead"], found["unfit"], found["left"]) == ([], [], [], [])
