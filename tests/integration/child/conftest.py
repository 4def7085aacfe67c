"""Fixtures of the tests of children."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runtime.child import Children
from runtime.settings import Settings
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
