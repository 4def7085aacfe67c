"""The agent in TypeScript, against a server of models on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.child import protocol
from tests.support.fake_model import HELLO, REGISTRY, FakeModel, chunk, text

AGENT = "node_agent"
if reason := REGISTRY.get(AGENT).unavailable({**os.environ, "OPENAI_API_KEY": "sk-test"}):
    pytest.skip(reason, allow_module_level=True)

DONE = b"data: [DONE]\n\n"


def call(name: str, arguments: dict[str, Any], id: str = "c1") -> list[bytes]:
    """An answer that calls a tool, its arguments in two pieces."""
    written = json.dumps(arguments)
    head = {"index": 0, "id": id, "type": "function", "function": {"name": name, "arguments": written[:3]}}
    rest = {"index": 0, "function": {"arguments": written[3:]}}
    return [
        chunk({"tool_calls": [head]}),
        chunk({"tool_calls": [rest]}),
        chunk({}, finish="tool_calls"),
        DONE,
    ]


def answer(*pieces: str) -> list[bytes]:
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    return [
        *(chunk({"content": piece}) for piece in pieces),
        chunk({}, finish="stop"),
        chunk(usage=usage),
        DONE,
    ]


def script(model: FakeModel, *answers: list[bytes]) -> None:
    """What the model answers, one request after the other."""
    left = iter(answers)
    model.answer = lambda: iter(next(left))


def results(said: list[protocol.WorkerEvent]) -> list[Any]:
    return [one.data["result"] for one in said if isinstance(one, protocol.CompleteMessage)]


def test_the_agent_calls_tools_until_the_model_answers(model: FakeModel, say: Any) -> None:
    script(
        model,
        call("calculate", {"expression": "-2 ** 2 + 3 * (1 + .5)"}),
        call("calculate", {"expression": "1 +"}, "c2"),
        call("nothing", {}, "c3"),
        answer("It is ", "0.5."),
    )

    said = say(AGENT, HELLO, model="tiny", system_prompt="Be brief.")

    assert text(said) == "It is 0.5."
    assert results(said) == ["0.5", "A number is missing before the end.", "There is no tool nothing."]
    assert said[-1] == protocol.Done()
    first, *_, last = model.requests
    assert (first["model"], first["stream"]) == ("tiny", True)
    assert first["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    ]
    assert {tool["function"]["name"] for tool in first["tools"]} == {"calculate", "now", "keep_note", "notes"}
    assert [message["content"] for message in last["messages"] if message["role"] == "tool"] == [
        "0.5",
        "Error: A number is missing before the end.",
        "Error: There is no tool nothing.",
    ]
    assert model.headers[0]["authorization"] == "Bearer sk-test"


def test_calls_of_one_index_or_one_id_are_told_apart(model: FakeModel, say: Any) -> None:
    def calls(*ids: str) -> list[bytes]:
        functions = [{"name": "calculate", "arguments": f'{{"expression": "{n}"}}'} for n in range(len(ids))]
        pieces = [
            {"index": 0, "id": id, "function": function} for id, function in zip(ids, functions, strict=True)
        ]
        return [*(chunk({"tool_calls": [piece]}) for piece in pieces), chunk({}, finish="tool_calls"), DONE]

    clock = call("now", {}, "same")
    script(model, calls("a", "b"), clock, clock, answer("Yes."))
    said = say(AGENT, HELLO)
    assert results(said)[:2] == ["0", "1"] and said[-1] == protocol.Done()
    steps = [one.key for one in said if isinstance(one, protocol.Save) and one.key.startswith("now")]
    assert steps == ["now 2.1", "now 3.1"]


def test_a_tool_that_asks_goes_on_after_the_answer_and_the_model_is_not_asked_again(
    model: FakeModel, say: Any
) -> None:
    script(model, call("keep_note", {"note": "buy milk"}), answer("Kept."))
    first = say(AGENT, HELLO)
    [asked] = [one for one in first if isinstance(one, protocol.Confirm)]
    saved = {one.key: one for one in first if isinstance(one, protocol.Save)}
    answered = {"confirmation_id": asked.id, "answer": "yes", "digest": asked.digest}

    second = say(
        AGENT,
        HELLO,
        lost={
            "continued": False,
            "answers": [answered],
            "saved": {key: json.loads(one.value) for key, one in saved.items()},
            "digests": {key: one.digest for key, one in saved.items()},
        },
    )

    assert asked.prompt == "Keep this note? buy milk"
    assert (text(second), results(second), len(model.requests)) == ("Kept.", ["It is kept."], 2)
    assert protocol.State({"notes": ["buy milk"]}) in second


@pytest.mark.parametrize(
    ("parts", "kind", "status", "reason"),
    [
        ([chunk({"content": "so far"})], "text/event-stream", 200, "was cut off"),
        ([b"<p>Sign in"], "text/html", 200, "answers with text/html and not with a stream"),
        (
            [chunk({"content": "so far"}), b'data: {"error": {"message": "Overloaded."}}\n\n'],
            "text/event-stream", 200, "reports: Overloaded.",
        ),
        ([b'{"error": {"message": "Slow down"}}'], "application/json", 429, "answers with 429: Slow down."),
    ],
    ids=["cut", "page", "overloaded", "busy"],
)  # fmt: skip
def test_what_goes_wrong_at_the_server_may_be_tried_again_and_keeps_the_part(
    model: FakeModel, say: Any, parts: list[bytes], kind: str, status: int, reason: str
) -> None:
    def said_so_far() -> Iterator[bytes]:
        yield from parts

    model.answer, model.content_type, model.status = said_so_far, kind, status

    said = say(AGENT, HELLO)

    assert isinstance(said[-1], protocol.Failed)
    assert said[-1].retryable
    assert reason in said[-1].message
    assert text(said) == ("so far" if len(parts[0]) > 100 else "")


def test_an_agent_that_never_answers_is_stopped(model: FakeModel, say: Any) -> None:
    model.answer = lambda: iter(call("now", {}, f"c{len(model.requests)}"))

    said = say(AGENT, HELLO, max_turns=2)

    assert isinstance(said[-1], protocol.Failed)
    assert not said[-1].retryable
    assert "2 times" in said[-1].message
    assert len(model.requests) == 2
