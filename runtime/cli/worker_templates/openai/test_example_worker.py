"""The worker, executed without a server and with what a model would stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import example_worker
import pytest

from runtime.sdk.testing import execute


def chunk(text: str, finish_reason: str | None = None) -> dict[str, Any]:
    """A piece of an answer; the last one says why it is the last."""
    return {
        "id": "1",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}],
    }


def test_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def create(messages: list[dict[str, Any]], **request: Any) -> Iterator[dict[str, Any]]:
        yield chunk("You said: ")
        yield chunk(messages[-1]["content"], "stop")

    monkeypatch.setattr(example_worker.client.chat.completions, "create", create)

    result = execute(example_worker.run, "hi")

    assert result.status == "success"
    assert result.text == "You said: hi"
