"""What the SDK makes of a thread's messages: conversations for the libraries of models, windows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.sdk import Message, Run
from runtime.sdk.wire import Wire

PNG = "data:image/png;base64,AQID"


def run_of(*messages: dict[str, Any]) -> Run:
    return Run({"messages": list(messages)}, Wire(-1, -1))


def says(role: str, content: str = "", type: str = "text", **more: Any) -> dict[str, Any]:
    return {"role": role, "type": type, "content": content, **more}


def call(call_id: Any, name: str = "add", content: str = "", **data: Any) -> dict[str, Any]:
    return says("assistant", content, "function", data={"call_id": call_id, "name": name, **data})


def result(call_id: Any, content: str = "", **data: Any) -> dict[str, Any]:
    return says("tool", content, "function", data={"call_id": call_id, **data})


AGENT = [
    says("system", "Be brief."),
    says("user", "A dot", "image", data={"url": PNG}),
    says("user", "What is it, and 1 + 2?"),
    says("assistant", "Hm.", channel="reasoning"),
    says("assistant", "Let me see."),
    call("a", arguments={"a": 1, "b": 2}),
    call("b", "look", '{"at": "it"}'),
    result("b", result="not there", is_error=True),
    result("a", result={"sum": 3}),
    says("assistant", ""),
    says("assistant", "print(3)", "code", data={"language": "python"}),
    says("assistant", "A line", "image", data={"url": PNG}),
    says("assistant", "Sure?", "confirmation", data={"answer": "yes"}),
    call("c", "search", '{"query": "hal'),
    says("user", "Go on."),
]
"""Calls that ended in another order, one that never did, and what models are not told."""
SAID = "```python\nprint(3)\n```\n\nA line\n\nSure?\nAnswer: yes"


def test_openai_chat_is_given_calls_with_their_results_and_pictures() -> None:
    question = [
        {"type": "image_url", "image_url": {"url": PNG}},
        {"type": "text", "text": "A dot"},
        {"type": "text", "text": "What is it, and 1 + 2?"},
    ]
    add, look, search = (
        {"type": "function", "id": call_id, "function": {"name": name, "arguments": arguments}}
        for call_id, name, arguments in [
            ("a", "add", '{"a": 1, "b": 2}'),
            ("b", "look", '{"at": "it"}'),
            ("c", "search", '{"arguments": "{\\"query\\": \\"hal"}'),
        ]
    )
    assert run_of(*AGENT).as_openai() == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": question},
        {"role": "assistant", "content": "Let me see.", "tool_calls": [add, look]},
        {"role": "tool", "tool_call_id": "a", "content": '{"sum": 3}'},
        {"role": "tool", "tool_call_id": "b", "content": "Error: not there"},
        {"role": "assistant", "content": SAID, "tool_calls": [search]},
        {"role": "tool", "tool_call_id": "c", "content": "Error: The call was not finished."},
        {"role": "user", "content": "Go on."},
    ]


def test_openai_responses_is_given_items() -> None:
    items = run_of(*AGENT).as_openai("responses")
    assert items[1]["content"][0] == {"type": "input_image", "image_url": PNG, "detail": "auto"}
    assert items[2:7] == [
        {"role": "assistant", "content": "Let me see."},
        {"type": "function_call", "call_id": "a", "name": "add", "arguments": '{"a": 1, "b": 2}'},
        {"type": "function_call", "call_id": "b", "name": "look", "arguments": '{"at": "it"}'},
        {"type": "function_call_output", "call_id": "a", "output": '{"sum": 3}'},
        {"type": "function_call_output", "call_id": "b", "output": "Error: not there"},
    ]
    with pytest.raises(ValueError, match="not 'completions'"):
        run_of().as_openai("completions")  # type: ignore[arg-type]


def test_anthropic_is_given_system_and_turns_that_alternate() -> None:
    given = run_of(*AGENT).as_anthropic(system="You are Ada.")
    assert given["system"] == "You are Ada.\n\nBe brief."
    user, assistant, results, again, end = given["messages"]
    assert user["content"][0] == {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "AQID"},
    }
    assert assistant["content"] == [
        {"type": "text", "text": "Let me see."},
        {"type": "tool_use", "id": "a", "name": "add", "input": {"a": 1, "b": 2}},
        {"type": "tool_use", "id": "b", "name": "look", "input": {"at": "it"}},
    ]
    assert results["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": '{"sum": 3}'},
        {"type": "tool_result", "tool_use_id": "b", "content": "not there", "is_error": True},
    ]
    assert again["content"][-1]["input"] == {"arguments": '{"query": "hal'}
    assert end["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "c",
            "content": "The call was not finished.",
            "is_error": True,
        },
        {"type": "text", "text": "Go on."},
    ]
    assert "system" not in run_of(says("user", "Hello")).as_anthropic()


def test_calls_are_text_where_no_functions_are_offered() -> None:
    messages = [says("user", "1 + 2?"), call("a", content='{"a": 1}'), result("a", "3"), call("b", result=4)]
    assert run_of(*messages).as_openai(tools=False)[1]["content"] == (
        'add({"a": 1})\n\nfunction = 3\n\nadd() = 4'
    )


def test_an_assistant_that_speaks_first_and_last_is_taken_by_anthropic() -> None:
    messages = run_of(
        says("assistant", "Hello"), says("user", "Hi"), says("assistant", "So \n")
    ).as_anthropic()
    assert [one["role"] for one in messages["messages"]] == ["user", "assistant", "user", "assistant"]
    assert messages["messages"][-1]["content"] == "So"


@pytest.mark.parametrize(
    "url",
    ["https://example.com/a.png", "data:image/avif;base64,AQID", "data:image/svg+xml;base64,AQID", 3, None],
)
def test_a_picture_that_models_do_not_see_is_described(url: Any) -> None:
    messages = run_of(says("user", "A dot", "image", data={"url": url})).as_openai()
    assert messages == [{"role": "user", "content": "A dot"}]


def test_calls_without_an_id_get_the_results_of_their_function_in_order() -> None:
    messages = [
        call(None, "f"), call(None, "g"), call(None, "f"),
        result(None, "g1", name="g"), result(None, "f1"), result(None, "f2", name="f"),
        result(None, "none's"),
    ]  # fmt: skip
    given = run_of(*messages).as_openai()
    outputs = {one["tool_call_id"]: one["content"] for one in given if one["role"] == "tool"}
    called = [call["id"] for one in given for call in one.get("tool_calls", ())]
    assert [outputs[call_id] for call_id in called] == ["f1", "g1", "f2"]
    assert given[-1] == {"role": "assistant", "content": "function = none's"}


_JSON = st.one_of(st.none(), st.integers(), st.text(max_size=3), st.just({"a": [1]}), st.just("[" * 100_000))
_ID = st.one_of(st.sampled_from(["a", "b", "", "functions.bash:0", "x" * 60]), st.none(), st.just(["list"]))
_DATA = st.fixed_dictionaries(
    {},
    optional={
        "call_id": _ID,
        "name": st.sampled_from(["add", "a b", "ü" * 100, ""]),
        "arguments": _JSON,
        "result": _JSON,
        "is_error": st.booleans(),
        "url": st.just(PNG),
    },
)
_MESSAGE = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "user", "assistant", "assistant", "tool", "tool"]),
        "type": st.sampled_from(["text", "function", "function", "function", "image", "code"]),
        "content": st.sampled_from(["", " ", "\n", "text", '{"a": NaN}']),
        "data": _DATA,
        "channel": st.sampled_from(["answer", "answer", "reasoning"]),
    }
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_MESSAGE, max_size=12), st.integers(0, 12))
def test_any_conversation_is_valid(messages: list[dict[str, Any]], size: int) -> None:
    run = run_of(*messages)
    for window in (run.messages, run.window(size)):
        _check_chat(run.as_openai(messages=window))
        _check_responses(run.as_openai("responses", messages=window))
        _check_anthropic(run.as_anthropic(messages=window)["messages"])


def _check_calls(ids: list[str]) -> None:
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", call_id) for call_id in ids)


def _check_chat(messages: list[dict[str, Any]]) -> None:
    expected: list[str] = []
    ids: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] == expected.pop(0)
            continue
        assert not expected
        expected = [call["id"] for call in message.get("tool_calls", ())]
        ids += expected
        assert expected or message["content"]
        assert message.get("content", "x").strip() if isinstance(message.get("content", "x"), str) else True
    assert not expected
    _check_calls(ids)


def _check_responses(items: list[dict[str, Any]]) -> None:
    calls = [item["call_id"] for item in items if item.get("type") == "function_call"]
    outputs = [item["call_id"] for item in items if item.get("type") == "function_call_output"]
    assert calls == outputs
    _check_calls(calls)


def _check_anthropic(messages: list[dict[str, Any]]) -> None:
    assert not messages or messages[0]["role"] == "user"
    assert all(one["role"] != other["role"] for one, other in pairwise(messages))
    ids: list[str] = []
    expected: list[str] = []
    for message in messages:
        blocks = message["content"]
        if isinstance(blocks, str):
            blocks = [{"type": "text", "text": blocks}]
        assert blocks
        assert all(block["text"].strip() for block in blocks if block["type"] == "text")
        results = [
            block["tool_use_id"] for block in blocks[: len(expected)] if block["type"] == "tool_result"
        ]
        assert results == expected
        assert not any(block["type"] == "tool_result" for block in blocks[len(expected) :])
        assert all(block["content"] for block in blocks if block.get("is_error"))
        expected = [block["id"] for block in blocks if block["type"] == "tool_use"]
        ids += expected
    assert not expected
    _check_calls(ids)


def _exhausted(value: Any) -> Any:
    """pydantic looks at what is in an Iterable only when it is read."""
    if isinstance(value, dict):
        return {key: _exhausted(one) for key, one in value.items()}
    return (
        value
        if isinstance(value, str | bytes) or not isinstance(value, Iterable)
        else [*map(_exhausted, value)]
    )


def test_the_makers_libraries_take_it() -> None:
    pytest.importorskip("openai")
    pytest.importorskip("anthropic")
    from anthropic.types import MessageParam
    from openai.types.chat import ChatCompletionMessageParam
    from openai.types.responses import ResponseInputItemParam
    from pydantic import TypeAdapter

    run = run_of(*AGENT)
    for kind, messages in [
        (ChatCompletionMessageParam, run.as_openai()),
        (ResponseInputItemParam, run.as_openai("responses")),
        (MessageParam, run.as_anthropic()["messages"]),
    ]:
        for message in messages:
            assert _exhausted(TypeAdapter(kind).validate_python(message)) == message


def contents(messages: list[Message]) -> list[str]:
    return [message.content for message in messages]


def test_a_window_keeps_the_goal_and_no_result_without_its_call() -> None:
    loop = [part for n in "1234" for part in (call(n, content=f"call {n}"), result(n, f"result {n}"))]
    run = run_of(
        says("system", "Be brief."), says("user", "Hello"), says("assistant", "Hi"),
        says("user", "A dot", "image"), says("user", "What is it?"), *loop,
    )  # fmt: skip
    goal = ["Be brief.", "A dot", "What is it?"]

    assert contents(run.window(0)) == goal
    assert contents(run.window(2)) == [*goal, "call 4", "result 4"]
    assert contents(run.window(3)) == [*goal, "call 4", "result 4"]
    assert contents(run.window(9)) == [*goal, *contents(run.messages[5:])]
    assert contents(run.window(11)) == ["Be brief.", *contents(run.messages[2:])]
    assert contents(run.window(100)) == contents(run.messages)
    with pytest.raises(ValueError, match="at least 0"):
        run.window(-1)


def test_a_window_leaves_out_the_result_of_each_call_that_it_cuts_off() -> None:
    calls = [call("a"), call("b"), result("b", "rb"), result("a", "ra"), says("assistant", "end")]
    run = run_of(says("user", "go"), *calls)
    assert contents(run.window(4)) == ["go", "", "rb", "end"]
    assert contents(run_of(result("z", "cut off by the pool"), *calls).window(10))[0] == ""
