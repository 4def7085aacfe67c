# ruff: noqa: E402 - the library may be missing
"""The agent with tools, against a server of models on this machine and a real MCP server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.frameworks import need

need("mcp")

from runtime.child import protocol
from runtime.sdk.loader import Function, load
from runtime.sdk.testing import Result, execute
from runtime.settings import CHECKOUT
from tests.support.fake_model import HELLO, FakeModel, chunk, text

pytestmark = pytest.mark.frameworks

FOLDER = CHECKOUT / "workers" / "tool_agent"
SERVER = CHECKOUT / "tests" / "support" / "mcp_server.py"
NUMBERS = {"numbers": {"command": sys.executable, "args": [str(SERVER)]}}
USAGE = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}


@pytest.fixture
def agent(model: FakeModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Function]:
    """The worker in this process."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{model.url}/v1")
    monkeypatch.syspath_prepend(FOLDER)
    yield load(f"{FOLDER}/tool_agent.py").function
    sys.modules.pop("agent_tools", None)


def calling(*calls: tuple[str, dict[str, Any]], says: str = "") -> list[bytes]:
    """An answer that calls tools; their arguments come in two pieces."""
    parts = [chunk({"role": "assistant", "content": says})] if says else []
    for index, (name, arguments) in enumerate(calls):
        whole = json.dumps(arguments)
        begins = {"index": index, "id": f"call_{index}", "type": "function"}
        for piece in (
            {**begins, "function": {"name": name, "arguments": whole[:3]}},
            {"index": index, "function": {"arguments": whole[3:]}},
        ):
            parts.append(chunk({"tool_calls": [piece]}))
    return [*parts, chunk({}, finish="tool_calls"), chunk(usage=USAGE), b"data: [DONE]\n\n"]


def saying(words: str) -> list[bytes]:
    return [chunk({"content": words}), chunk({}, finish="stop"), chunk(usage=USAGE), b"data: [DONE]\n\n"]


def answers(model: FakeModel, *turns: list[bytes]) -> None:
    """Have the model answer by how many tools have returned, as one that thinks would."""

    def answer() -> Iterator[bytes]:
        messages = model.requests[-1]["messages"]
        behind = max((place for place, one in enumerate(messages) if one["role"] == "user"), default=0)
        turn = sum(one["role"] == "assistant" for one in messages[behind:])
        return iter(turns[turn])

    model.answer = answer


def shown(result: Result) -> list[tuple[str, str, Any]]:
    assert result.error is None, result.error
    return [
        (one.role, one.type, one.content or one.data.get("result", one.data.get("arguments")))
        for one in result.messages
    ]


def test_it_calculates_and_knows_the_time(agent: Function, model: FakeModel) -> None:
    sums = ("calculate", {"expression": "(3 + 5) * 2 ** 6"}), ("clock", {"timezone": "Europe/Paris"})
    answers(model, calling(*sums, says="Let me see."), saying("It is 512."))
    result = execute(agent, "What is it?", config={"max_turns": 3})

    said = shown(result)
    assert said[:3] == [
        ("assistant", "text", "Let me see."),
        ("assistant", "function", {"expression": "(3 + 5) * 2 ** 6"}),
        ("tool", "function", "512"),
    ]
    assert said[4][2].endswith(("+01:00", "+02:00"))
    assert said[5] == ("assistant", "text", "It is 512.")
    assert result.usage == {"input_tokens": 20, "output_tokens": 4}
    assert [one["role"] for one in model.requests[1]["messages"]] == [
        "system", "user", "assistant", "tool", "tool",
    ]  # fmt: skip


@pytest.mark.parametrize("expression", ["2 ** 2 ** 99", "__import__('os')", "1 / 0", "(", "'a' * 9"])
def test_what_is_no_sum_is_an_error_for_the_model(agent: Function, model: FakeModel, expression: str) -> None:
    answers(model, calling(("calculate", {"expression": expression})), saying("I cannot."))
    result = execute(agent, "go")
    assert result.text == "I cannot."
    [returned] = [one.data for one in result.messages if one.role == "tool"]
    assert returned["is_error"] is True and returned["result"].startswith("Error: ")


def test_a_tool_that_is_not_there_and_half_an_argument_are_errors_for_the_model(
    agent: Function, model: FakeModel
) -> None:
    half = [
        chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "clock", "arguments": "{"}}]}),
        chunk({}, finish="tool_calls"),
    ]
    answers(model, calling(("fly", {})), half, saying("I cannot."))
    assert execute(agent, "go").text == "I cannot."
    said = [one["content"] for one in model.requests[-1]["messages"] if one["role"] == "tool"]
    assert said[0] == "Error: There is no tool fly." and said[1].startswith("Error: ")


def test_it_keeps_a_note_only_if_the_user_agrees_and_is_told_it_later(
    agent: Function, model: FakeModel
) -> None:
    answers(model, calling(("remember", {"note": "The user likes tea."})), saying("Noted."))
    waiting = execute(agent, "I like tea.")
    assert waiting.question is not None
    assert waiting.question.prompt == "Keep this note?\n\nThe user likes tea."
    no, yes = waiting.answer("no"), waiting.answer("yes")
    assert shown(no)[-2][2] == "The user does not want that." and not no.state
    assert shown(yes)[-2][2] == "It is kept."
    assert len(model.requests) == 3, "the answer before the question was asked for once"

    answers(model, saying("Tea."))
    execute(agent, "What do I like?", state=yes.state)
    assert "- The user likes tea." in model.requests[-1]["messages"][0]["content"]


def test_it_has_the_tools_of_mcp_servers(
    agent: Function, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"mcp_servers": NUMBERS}
    refused = execute(agent, "add", config=config)
    assert "TOOL_AGENT_COMMANDS" in str(refused.error) and refused.status == "error"

    monkeypatch.setenv("TOOL_AGENT_COMMANDS", "true")
    answers(model, calling(("add", {"a": 1, "b": 2})), saying("It is 3."))
    result = execute(agent, "add", config=config)
    assert shown(result)[-2:] == [("tool", "function", 3), ("assistant", "text", "It is 3.")]
    assert {"add", "calculate"} <= {one["function"]["name"] for one in model.requests[0]["tools"]}


def test_what_a_server_asks_twice_is_answered_twice(
    agent: Function, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOL_AGENT_COMMANDS", "true")
    book = calling(("book", {"place": "Gion"}))
    answers(model, book, book, saying("Booked."))
    first = execute(agent, "book", config={"mcp_servers": NUMBERS})
    assert first.question is not None, first.error
    second = first.answer({"name": "Ann"})
    assert second.question is not None and second.question.id != first.question.id, second.error
    done = second.answer({"name": "Bob"})
    assert (done.status, done.error) == ("success", None)
    assert [one.data["result"] for one in done.messages if one.role == "tool"] == [
        "2 at Gion for Ann",
        "2 at Gion for Bob",
    ]


@pytest.mark.parametrize("lines", [1000, 6, *(pytest.param(n, marks=pytest.mark.slow) for n in (4, 5, 7, 8))])
def test_a_call_that_has_failed_is_shown_so_by_a_later_attempt(
    agent: Function, model: FakeModel, monkeypatch: pytest.MonkeyPatch, lines: int
) -> None:
    monkeypatch.setenv("TOOL_AGENT_COMMANDS", "true")
    answers(model, calling(("refuse", {})), saying("I cannot."))
    result = execute(agent, "go", config={"mcp_servers": NUMBERS}, crash_after=lines)
    result = result.resume() if result.status == "queued" else result
    failed = [one.data["is_error"] for one in result.messages if one.role == "tool"]
    assert (result.text, failed) == ("I cannot.", [True])


def test_two_calls_of_one_id_are_two_calls(agent: Function, model: FakeModel) -> None:
    pieces = [
        {"index": 0, "id": "same", "function": {"name": "calculate", "arguments": '{"expression": "1"}'}},
        {"index": 1, "id": "same", "function": {"name": "calculate", "arguments": '{"expression": "2"}'}},
    ]
    answers(
        model,
        [*(chunk({"tool_calls": [one]}) for one in pieces), chunk({}, finish="tool_calls")],
        saying("1, 2."),
    )
    result = execute(agent, "go")
    assert [one.data["result"] for one in result.messages if one.role == "tool"] == ["1", "2"]


@pytest.mark.parametrize(
    ("ids", "rest"),
    [(("a", "b"), (None, None)), (("a", "b"), ("c", "d"))],
    ids=["one_index_for_all", "an_id_for_each_piece"],
)
def test_calls_of_one_index_are_told_apart_by_their_beginnings(
    agent: Function, model: FakeModel, ids: tuple[str, str], rest: tuple[str | None, str | None]
) -> None:
    parts = []
    for number, (id, later) in enumerate(zip(ids, rest, strict=True)):
        function = {"name": "calculate", "arguments": '{"expression":'}
        parts.append(chunk({"tool_calls": [{"index": 0, "id": id, "function": function}]}))
        piece = {"index": 0, "id": later, "function": {"arguments": f'"{number}"}}'}}
        parts.append(chunk({"tool_calls": [piece]}))
    answers(model, [*parts, chunk({}, finish="tool_calls")], saying("0, 1."))
    result = execute(agent, "go")
    assert [(one.data["call_id"], one.data["result"]) for one in result.messages if one.role == "tool"] == [
        ("a", "0"),
        ("b", "1"),
    ]


def test_a_user_leads_it_into_no_private_network(agent: Function) -> None:
    config = {"mcp_servers": {"inside": {"url": "http://127.0.0.1:9/mcp"}}}
    assert "127.0.0.1 is not at a public address" in str(execute(agent, "hi", config=config).error)


def test_a_lost_attempt_asks_no_model_and_calls_no_tool_again(agent: Function, model: FakeModel) -> None:
    turns = calling(("calculate", {"expression": "1 + 1"}), says="Hm."), saying("It is 2.")
    undisturbed = None
    for lines in (1000, *range(30)):
        answers(model, *turns)
        model.requests.clear()
        result = execute(agent, "go", crash_after=lines)
        if result.status == "queued":
            kept = len([key for key in result.saved if key.startswith("answer")])
            asked = len(model.requests)
            result = result.resume()
            assert len(model.requests) == asked + 2 - kept
        undisturbed = undisturbed or shown(result)
        assert shown(result) == undisturbed
        assert result.usage == {"input_tokens": 20, "output_tokens": 4}


def test_what_the_user_sends_meanwhile_steers_it(agent: Function, model: FakeModel) -> None:
    model.answer = lambda: iter(saying("Yes."))
    result = execute(agent, "birds?", inbox=["and fish?", None, None])
    assert [one["content"] for one in model.requests[1]["messages"][1:]] == ["birds?", "Yes.", "and fish?"]
    assert result.text.count("Yes.") == 2


def test_half_an_answer_is_tried_again(agent: Function, model: FakeModel) -> None:
    model.answer = lambda: iter([chunk({"content": "so far"})])
    assert execute(agent, "hi").status == "queued"
    last = execute(agent, "hi", max_attempts=1)
    assert [(one.content, one.status) for one in last.messages] == [("so far", "partial")]


def test_an_agent_that_never_ends_is_ended(agent: Function, model: FakeModel) -> None:
    model.answer = lambda: iter(calling(("clock", {})))
    result = execute(agent, "hi", config={"max_turns": 2})
    assert result.status == "error" and "within the turns" in str(result.error)
    assert len(model.requests) == 2


def test_it_runs_in_a_pool(model: FakeModel, say: Any) -> None:
    answers(model, calling(("calculate", {"expression": "6 * 7"})), saying("42."))
    said = say("tool_agent", HELLO)
    assert said[-1] == protocol.Done(), said
    assert any(isinstance(one, protocol.CompleteMessage) and one.data.get("result") == "42" for one in said)
    assert text(said, "2") == "42."
