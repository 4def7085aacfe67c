"""Fixtures of the tests of children."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.child import Children
from runtime.settings import Settings
from tests.support.sdk_process import Execute, Executed
from tests.support.worker_service import WorkerService


@pytest.fixture
def children(settings: Settings) -> Iterator[Children]:
    """The children of a pool with this process's environment."""
    children = Children(settings)
    yield children
    children.close()


@pytest.fixture
def service() -> Iterator[WorkerService]:
    """A worker that is a web service."""
    service = WorkerService()
    yield service
    service.close()


@pytest.fixture
def execute(tmp_path: Path) -> Iterator[Execute]:
    """Execute a worker given as source; what else is given goes into the run's line."""
    executed: list[Executed] = []

    def execute(source: str, **line: Any) -> Executed:
        # Compiled modules are told apart by size and second alone, so no two sources share a folder.
        path = tmp_path / str(len(executed)) / "worker_under_test.py"
        path.parent.mkdir()
        path.write_text(textwrap.dedent(source))
        executed.append(Executed(path, line))
        return executed[-1]

    yield execute
    for one in executed:
        one.close()
