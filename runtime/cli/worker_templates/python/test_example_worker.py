"""The worker, executed without a server."""

from __future__ import annotations

from pathlib import Path

from runtime.sdk.testing import execute

WORKER = Path(__file__).parent


def test_it_answers_with_a_greeting() -> None:
    result = execute(WORKER, "hi", config={"greeting": "Good morning"})
    assert result.status == "success"
    assert result.text == "Good morning! You said: hi"
