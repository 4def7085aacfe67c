"""The agents of the panel: parrots."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture
def web_environ(web_environ: dict[str, str]) -> dict[str, str]:
    """The environment of the web process under test."""
    return {
        **web_environ,
        "PANEL_AGENTS": "rag=parrot, task=parrot, document=nobody",
        "MAX_MESSAGES_PER_SESSION": "4",
    }


@pytest.fixture
def collect_sockets() -> Iterator[None]:
    """A client leaves connections to the collector, which is to warn in the test of that client."""
    yield
    gc.collect()
