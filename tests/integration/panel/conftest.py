"""The agents of the panel: parrots."""

from __future__ import annotations

import pytest


@pytest.fixture
def web_environ(web_environ: dict[str, str]) -> dict[str, str]:
    """The environment of the web process under test."""
    return {
        **web_environ,
        "PANEL_AGENTS": "rag=parrot, task=parrot, document=nobody",
        "MAX_MESSAGES_PER_SESSION": "4",
    }
