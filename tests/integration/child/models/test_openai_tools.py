"""openai_worker with functions in its config: by chat completions, and by the Responses API."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.sdk.loader import Function, load
from runtime.sdk.testing import Result, execute
from runtime.settings import CHECKOUT
from runtime.testing.ports import free_port
from tests.support.fake_model import FakeModel, chunk
from tests.support.frameworks import need
from tests.support.responses import THOUGHT, TOKENS, Provider

FOLDER = CHECKOUT / "workers" / "openai_worker"
SERVER = CHECKOUT / "tests" / "support" / "mcp_server.py"
TOOLLESS = "from mcp.server.mcpserver import MCPServer\nMCPServer('empty').run()"
"""A server that has no tools."""
WEATHER = {
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CALL = {"index": 0, "id": "call_1", "type": "function"}
USAGE = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}


@pytest.fixture
def worker(model: FakeModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Function]:
    """The worker in this process, whose server speaks chat completions."""
    monkeypatch.setenv("OPENAI_BASE_URL", f"{model.url}/v1")
    yield from _loaded(monkeypatch)


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def in_background(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Function]:
    """The worker in this process, whose server has the Responses API."""
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    yield from _loaded(monkeypatch)


def _loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Function]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.syspath_prepend(FOLDER)
    yield load(f"{FOLDER}/openai_worker.py").function
    for name in ("openai_worker", "background_responses", "chat_completions", "functions"):
        sys.modules.pop(name, None)


def calls(model: FakeModel, name: str, arguments: dict[str, Any]) -> None:
    """Have the model call a tool first, and then say what that has returned."""

    def answer() -> Iterator[bytes]:
        last = model.requests[-1]["messages"][-1]
        if last["role"] == "tool":
            yield chunk({"content": f"It is {last['content']}."})
            yield chunk({}, finish="stop")
        else:
            yield chunk({"reasoning_content": "Hm."})
            yield chunk({"content": "Let me see."})
            function = {"name": name, "arguments": json.dumps(arguments)}
            yield chunk({"tool_calls": [{**CALL, "function": function}]})
            yield chunk({}, finish="tool_calls")
        yield chunk(usage=USAGE)

    model.answer = answer


def shown(result: Result) -> list[tuple[str, str, Any]]:
    assert result.error is None, result.error
    return [
        (one.role, one.type, one.content or one.data.get("result", one.data.get("arguments")))
        for one in result.messages
        if one.channel == "answer" and one.type != "confirmation"
    ]


CONVERSATION = [
    ("assistant", "text", "Let me see."),
    ("assistant", "function", {"city": "Oslo"}),
    ("tool", "function", "rain"),
    ("assistant", "text", "It is rain."),
]


def test_the_run_asks_what_a_function_returns(worker: Function, model: FakeModel) -> None:
    calls(model, "weather", {"city": "Oslo"})
    waiting = execute(worker, "How is Oslo?", config={"functions": [WEATHER]})
    assert waiting.question is not None and "What does weather return?" in waiting.question.prompt
    assert '"city": "Oslo"' in waiting.question.prompt

    result = waiting.answer("rain")
    assert shown(result) == CONVERSATION
    assert result.usage == {"input_tokens": 20, "output_tokens": 4}
    assert len(model.requests) == 2, "the answer before the question was asked for once"
    assert model.requests[0]["tools"] == [{"type": "function", "function": WEATHER}]


def test_a_lost_attempt_asks_the_model_for_nothing_again(worker: Function, model: FakeModel) -> None:
    for lines in range(14):
        calls(model, "weather", {"city": "Oslo"})
        waiting = execute(
            worker, "Oslo?", config={"functions": [WEATHER]}, crash_after=lines, resume="continue"
        )
        if waiting.status == "queued":
            waiting = waiting.resume()
        result = waiting.answer("rain", crash_after=lines)
        assert shown(result.resume() if result.status == "queued" else result) == CONVERSATION


def test_two_tools_of_one_name_are_refused(worker: Function, model: FakeModel) -> None:
    result = execute(worker, "Oslo?", config={"functions": [WEATHER, WEATHER]})
    assert "Two tools are called 'weather'" in str(result.error)


@pytest.mark.frameworks
def test_it_has_the_tools_of_mcp_servers_where_the_installation_allows_it(
    worker: Function, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("mcp")
    config = {"mcp_servers": {"numbers": {"command": sys.executable, "args": [str(SERVER)]}}}
    assert "OPENAI_MCP_COMMANDS" in str(execute(worker, "add", config=config).error)
    inside = {"mcp_servers": {"inside": {"url": "http://127.0.0.1:9/mcp"}}}
    assert "is not at a public address" in str(execute(worker, "hi", config=inside).error)

    monkeypatch.setenv("OPENAI_MCP_COMMANDS", "true")
    calls(model, "add", {"a": 1, "b": 2})
    assert shown(execute(worker, "add", config=config))[-2:] == [
        ("tool", "function", 3),
        ("assistant", "text", "It is 3."),
    ]


@pytest.mark.frameworks
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_no_empty_list_of_tools_is_offered(
    model: FakeModel, provider: Provider, monkeypatch: pytest.MonkeyPatch, api: str
) -> None:
    need("mcp")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{model.url}/v1" if api == "chat" else provider.url)
    monkeypatch.setenv("OPENAI_MCP_COMMANDS", "true")
    model.answer = lambda: iter([chunk({"content": "Hello."}), chunk({}, finish="stop")])
    provider.allow(1000)
    server = {"command": sys.executable, "args": ["-c", TOOLLESS]}
    [worker] = _loaded(monkeypatch)
    result = execute(worker, "hi", config={"api": api, "mcp_servers": {"empty": server}})

    assert result.error is None, result.error
    [request] = model.requests or [response.request for response in provider.responses.values()]
    assert "tools" not in request and "tool_choice" not in request


def test_the_responses_api_calls_functions_too_and_generates_nothing_twice(
    in_background: Function, provider: Provider
) -> None:
    provider.calls = [("weather", {"city": "Oslo"})]
    provider.allow(1000)
    config = {"api": "responses", "functions": [WEATHER]}
    waiting = execute(in_background, "How is Oslo?", config=config)
    result = waiting.answer("rain")

    first, second = provider.responses.values()
    assert first.request["tools"] == [{"type": "function", "strict": False, **WEATHER}]
    assert second.request["previous_response_id"] == first.id
    assert second.request["input"] == [
        {"type": "function_call_output", "call_id": "call_1", "output": "rain"}
    ]
    said = shown(result)
    assert [one[:2] for one in said] == [one[:2] for one in CONVERSATION]
    assert said[0][2] == said[3][2] == first.text["answer"]
    assert said[1:3] == CONVERSATION[1:3]


@pytest.mark.parametrize("lines", [None, 1, 3, 6, 20, 24, 30, 40])
def test_the_responses_api_is_told_between_two_turns_what_was_sent_meanwhile(
    in_background: Function, provider: Provider, lines: int | None
) -> None:
    provider.calls = [("weather", {"city": "Oslo"})]
    provider.allow(1000)
    config = {"api": "responses", "functions": [WEATHER]}
    inbox = ["in English", None, "and Rome?", None, None]
    waiting = execute(in_background, "Oslo?", config=config, inbox=inbox, resume="continue")
    result = waiting.answer("rain", crash_after=lines)
    result = result.resume() if result.status == "queued" else result

    assert result.error is None, result.error
    first, second, third = provider.responses.values()
    called = {"type": "function_call_output", "call_id": "call_1", "output": "rain"}
    assert second.request["input"] == [called, {"role": "user", "content": "in English"}]
    assert third.request["input"] == [{"role": "user", "content": "and Rome?"}]
    assert [one.request["previous_response_id"] for one in (second, third)] == [first.id, second.id]
    assert result.unread == []


def test_a_model_that_calls_without_end_is_stopped(in_background: Function, provider: Provider) -> None:
    provider.calls = [("nothing", {})] * 3
    provider.allow(1000)
    config = {"api": "responses", "functions": [WEATHER], "max_turns": 2}
    result = execute(in_background, "hi", config=config)
    assert "within the turns" in str(result.error)
    assert [one.data["result"] for one in result.messages if one.role == "tool"] == [
        "Error: There is no tool nothing."
    ] * 2


@pytest.mark.parametrize("lines", [3, 9, 20, 24])
def test_a_lost_attempt_reads_its_responses_again(
    in_background: Function, provider: Provider, lines: int
) -> None:
    provider.calls = [("weather", {"city": "Oslo"})]
    provider.allow(1000)
    config = {"api": "responses", "functions": [WEATHER]}
    lost = execute(in_background, "Oslo?", config=config, crash_after=lines, resume="continue")
    waiting = lost.resume() if lost.status == "queued" else lost
    result = waiting.answer("rain", crash_after=lines)
    said = shown(result.resume() if result.status == "queued" else result)
    assert said[1:3] == CONVERSATION[1:3]
    assert said[0][2] == said[3][2] == "".join(TOKENS)
    assert len(provider.responses) == 2
    assert len(provider.ledger) == 2 * (len(THOUGHT) + len(TOKENS))


def test_two_calls_in_one_turn_are_asked_one_after_the_other(worker: Function, model: FakeModel) -> None:
    def answer() -> Iterator[bytes]:
        told = [one["content"] for one in model.requests[-1]["messages"] if one["role"] == "tool"]
        if told:
            yield chunk({"content": " and ".join(told)})
            yield chunk({}, finish="stop")
        else:
            for index, city in enumerate(("Oslo", "Rome")):
                function = {"name": "weather", "arguments": json.dumps({"city": city})}
                yield chunk(
                    {"tool_calls": [{**CALL, "index": index, "id": f"c{index}", "function": function}]}
                )
            yield chunk({}, finish="tool_calls")

    model.answer = answer
    first = execute(worker, "How is it?", config={"functions": [WEATHER]})
    second = first.answer("rain")
    assert second.question is not None and "Rome" in second.question.prompt
    for lines in (1000, 0, 1, 2, 3, 4):
        result = second.answer("sun", crash_after=lines)
        result = result.resume() if result.status == "queued" else result
        assert result.text == "rain and sun"
        assert [one.data["result"] for one in result.messages if one.role == "tool"] == ["rain", "sun"]


def test_a_server_of_the_users_is_told_of_no_port_with_functions_either(worker: Function) -> None:
    config = {"functions": [WEATHER], "base_url": f"http://127.0.0.1:{free_port()}/v1"}
    result = execute(worker, "hi", config=config, max_attempts=1)
    assert "is not at a public address" in str(result.error)
    assert "refused" not in str(result.error).lower()
