"""The worker, executed without a server and with a fake model."""

from __future__ import annotations

import example_worker
from pydantic_ai.models.test import TestModel

from runtime.sdk.testing import execute


def test_it_adds() -> None:
    with example_worker.agent.override(model=TestModel(custom_output_text="It is 0.")):
        result = execute(example_worker.run, "What is 0 + 0?")

    assert result.status == "success"
    assert result.text == "It is 0."
    assert [message.data["result"] for message in result.messages if message.role == "tool"] == [0]
