"""The worker, executed without a server and with a fake model."""

from __future__ import annotations

import example_worker
import pytest
from agents import set_tracing_disabled
from agents.testing import ScriptedModel, assistant_message, function_call

from runtime.sdk.testing import execute

set_tracing_disabled(True)


def test_it_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    call = function_call("add", {"a": 1, "b": 2}, call_id="call_1")
    monkeypatch.setattr(
        example_worker.agent, "model", ScriptedModel([[call], [assistant_message("It is 3.")]])
    )

    result = execute(example_worker.run, "What is 1 + 2?")

    assert result.status == "success"
    assert result.text == "It is 3."
    assert [message.data["result"] for message in result.messages if message.role == "tool"] == [3]
