"""What the tests of the event log and of what lies beside it share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runtime.model import new_id
from runtime.settings import Settings
from runtime.stream import Link


@pytest.fixture
def link(redis_url: str, settings: Settings) -> Iterator[Link]:
    link = Link(redis_url, settings.redis)
    yield link
    link.close()


@pytest.fixture
def thread() -> str:
    return new_id()
