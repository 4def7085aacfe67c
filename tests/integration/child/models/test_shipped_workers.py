"""The small workers that come with Branchline, executed as in a pool."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from runtime.child import protocol
from runtime.registry import load
from runtime.settings import CHECKOUT
from tests.support.fake_model import HELLO, FakeModel, chunk, text
from tests.support.frameworks import need

WORKERS = CHECKOUT / "workers"


def test_the_shell_worker_tells_how_its_machine_is(say: Any) -> None:
    said = say("shell_worker", HELLO)
    assert said[-1] == protocol.Done()
    told = text(said, "1")
    assert "Linux" in told and "Filesystem" in told
    assert text(said) == "That is how it is."


@pytest.fixture
def service() -> Iterator[str]:
    """The address of the example behind the HTTP worker."""
    with subprocess.Popen(
        [sys.executable, str(WORKERS / "http_worker" / "service.py"), "0"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


def test_the_http_worker_has_its_example_service_answer(say: Any, service: str) -> None:
    worker = replace(load(WORKERS / "http_worker"), url=service)
    said = say(worker, {"role": "user", "type": "text", "content": "one two"}, pause=0)
    assert text(said) == "one two "
    assert protocol.Step("Repeating") in said
    assert said[-1] == protocol.Done()


@pytest.mark.frameworks
@pytest.mark.parametrize(
    ("worker", "library"),
    [
        ("langgraph_worker", "langgraph"),
        ("openai_agents_worker", "agents"),
        ("pydantic_ai_worker", "pydantic_ai"),
    ],
)
def test_an_agent_of_a_library_calls_its_tool_and_answers(
    model: FakeModel, say: Any, worker: str, library: str
) -> None:
    need(library)
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}

    def answer() -> Iterator[bytes]:
        if any(one["role"] == "tool" for one in model.requests[-1]["messages"]):
            yield from (chunk({"role": "assistant", "content": "It is "}), chunk({"content": "late."}))
            yield chunk({}, finish="stop")
        else:
            yield chunk({"role": "assistant", "tool_calls": [call]})
            yield chunk({}, finish="tool_calls")
        yield b"data: [DONE]\n\n"

    model.answer = answer
    said = say(worker, HELLO, system_prompt="Be brief.")
    assert said[-1] == protocol.Done(), said
    deltas = "".join(one.text for one in said if isinstance(one, protocol.Delta))
    assert "It is late." in deltas
    [returned] = [
        one.data for one in said if isinstance(one, protocol.CompleteMessage) and one.role == "tool"
    ]
    assert "T" in returned["result"]
    first = model.requests[0]["messages"][0]
    assert first["role"] in ("system", "developer") and "Be brief." in json.dumps(first["content"])
