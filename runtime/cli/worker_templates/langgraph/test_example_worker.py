"""The worker, executed without a server and with a fake model."""

from __future__ import annotations

from typing import Any

import example_worker
import pytest
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage

from runtime.sdk.testing import execute


class FakeModel(FakeMessagesListChatModel):
    """Gives its responses one after the other."""

    def bind_tools(self, tools: Any, **options: Any) -> FakeModel:
        """It knows without being told which tools there are."""
        return self


def test_it_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    call = {"name": "add", "args": {"a": 1, "b": 2}, "id": "call_1", "type": "tool_call"}
    fake = FakeModel(responses=[AIMessage("", tool_calls=[call]), AIMessage("It is 3.")])
    monkeypatch.setattr(example_worker, "model", lambda: fake)

    result = execute(example_worker.run, "What is 1 + 2?")

    assert result.status == "success"
    assert result.text == "It is 3."
    assert [message.data["result"] for message in result.messages if message.role == "tool"] == ["3"]
