"""``connect()`` makes a worker of an object with a method ``chat``, whatever shape its answer has."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from runtime.sdk import InterpreterABC, MappingRule, connect
from runtime.sdk.testing import Result, execute

RECORDED = [
    json.loads(line)
    for line in r"""
{"role": "assistant", "type": "message", "start": true}
{"role": "assistant", "type": "message", "content": "Let me "}
{"role": "assistant", "type": "message", "content": "see."}
{"role": "assistant", "type": "message", "end": true}
{"role": "assistant", "type": "code", "format": "python", "start": true}
{"role": "assistant", "type": "code", "format": "python", "content": "for n in range(2):\n"}
{"role": "assistant", "type": "code", "format": "python", "content": "    print(n + 1)\n"}
{"role": "assistant", "type": "code", "format": "python", "end": true}
{"role": "computer", "type": "confirmation", "format": "execution", "content": {"type": "code", "format": "python", "content": "for n in range(2):\n    print(n + 1)\n"}}
{"role": "computer", "type": "console", "start": true}
{"role": "computer", "type": "console", "format": "active_line", "content": 2}
{"role": "computer", "type": "console", "format": "output", "content": "1\n2\n"}
{"role": "computer", "type": "console", "format": "active_line", "content": null}
{"role": "computer", "type": "console", "end": true}
{"role": "assistant", "type": "message", "start": true}
{"role": "assistant", "type": "message", "content": "It is "}
{"role": "assistant", "type": "message", "content": "1 and 2."}
{"role": "assistant", "type": "message", "end": true}
""".strip().splitlines()  # noqa: E501
]
"""A stream of open-interpreter 0.4.3 with ``auto_run`` off, whose tokens are joined."""
CODE = "for n in range(2):\n    print(n + 1)\n"
QUESTION = f"Execute this python code?\n\n{CODE}"
ANSWER = ("assistant", "text", "It is 1 and 2.")
COUNTED = [
    ("assistant", "text", "Let me see."),
    ("assistant", "code", CODE),
    ("tool", "console", "1\n2\n"),
    ANSWER,
]


class OpenInterpreter:
    """Says what Open Interpreter does: where the conversation ends with a code it goes on with that."""

    def __init__(self, auto_run: bool = False) -> None:
        self.messages: list[Any] = []
        self.auto_run = auto_run

    def chat(
        self, message: Any = None, display: bool = True, stream: bool = False, blocking: bool = True
    ) -> Iterator[Any]:
        assert (display, stream, blocking) == (False, True, True)
        self.messages = message
        place = [chunk["type"] for chunk in RECORDED].index("confirmation")
        if self.messages[-1]["type"] != "code":
            yield from RECORDED[:place]
        if not self.auto_run:
            yield RECORDED[place]
        yield from RECORDED[place + 1 :]


class Interpreter:
    """Answers with what ``chat`` makes of what it is given."""

    def __init__(self, chat: Callable[..., Any]) -> None:
        self.chat = chat


def saying(*chunks: Any) -> Interpreter:
    return Interpreter(lambda message: iter(chunks))


def shown(result: Result) -> list[tuple[str, str, str]]:
    assert result.error is None, result.error
    assert {message.status for message in result.messages} <= {"complete"}
    return [(message.role, message.type, message.content) for message in result.messages]


def generator(message: str) -> Iterator[str]:
    yield "Hi, "
    yield message


async def async_generator(message: str) -> AsyncIterator[str]:
    yield "Hi, "
    yield message


async def coroutine(message: str) -> str:
    return f"Hi, {message}"


async def coroutine_of_a_stream(message: str) -> AsyncIterator[str]:
    return async_generator(message)


async def coroutine_of_a_generator(message: str) -> Iterator[str]:
    return generator(message)


def plain_value(message: str) -> str:
    return f"Hi, {message}"


def chunk(message: str) -> dict[str, str]:
    return {"role": "assistant", "type": "message", "content": f"Hi, {message}"}


async def chunks(message: str) -> AsyncIterator[dict[str, str]]:
    yield chunk(message)


@pytest.mark.parametrize(
    "chat",
    [
        generator, async_generator, coroutine, coroutine_of_a_stream, coroutine_of_a_generator,
        plain_value, chunk, chunks, lambda message: [chunk(message)],
    ],
    ids=[
        "generator", "async generator", "coroutine", "coroutine of a stream", "coroutine of a generator",
        "value", "chunk", "chunks", "list",
    ],
)  # fmt: skip
def test_every_shape_of_an_answer_is_shown(chat: Callable[..., Any]) -> None:
    assert shown(execute(connect(Interpreter(chat)), "Ada")) == [("assistant", "text", "Hi, Ada")]


def test_each_of_a_list_is_a_whole_message() -> None:
    said = [{"role": "assistant", "type": "message", "content": word} for word in ("One", "Two")]
    assert shown(execute(connect(Interpreter(lambda message: said)), "hi")) == [
        ("assistant", "text", "One"),
        ("assistant", "text", "Two"),
    ]


def test_a_chat_is_given_those_arguments_that_it_names() -> None:
    def chat(message: str, *, run: Any, stream: bool = False, **more: Any) -> str:
        assert not more
        return f"{message} {stream} {run.config['name']}"

    result = execute(connect(Interpreter(chat)), "hi", config={"name": "Ada"})
    assert result.text == "hi True Ada"


def test_what_a_chat_is_given_can_be_said() -> None:
    worker = connect(Interpreter(plain_value), input=lambda run: f"{len(run.messages)} messages")
    assert execute(worker, ["one", "two"]).text == "Hi, 2 messages"


class Chatty(InterpreterABC):
    """Of the base class."""

    def chat(self, message: Any) -> Any:
        return f"Hi, {message}"


def test_the_base_class_is_the_protocol() -> None:
    assert execute(connect(Chatty()), "Ada").text == "Hi, Ada"
    with pytest.raises(TypeError, match="abstract"):
        InterpreterABC()  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (object(), r"a method chat\(message\); that of builtins.object has none"),
        (Chatty, r"Chatty is a class: connect\(Chatty\(\)\)"),
        (Interpreter("no"), "is no method"),  # type: ignore[arg-type]
        (Interpreter(lambda: ""), "too many positional arguments"),
        (Interpreter(lambda message, tools: ""), "missing a required argument: 'tools'"),
        (Interpreter(lambda *, message: ""), "too many positional arguments"),
    ],
    ids=["no chat", "class", "no method", "no message", "more arguments", "keyword only"],
)
def test_an_object_that_does_not_fit_is_told_what_is_missing(thing: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        connect(thing)


def test_an_object_that_does_not_fit_fails_the_start_of_its_worker(tmp_path: Any) -> None:
    file = tmp_path / "worker.py"
    file.write_text("from branchline_sdk import connect\nconnect(object())\n")
    with pytest.raises(TypeError, match="a method chat"):
        execute(file, "hi")


def test_a_stream_of_open_interpreter_is_text_code_and_console() -> None:
    result = execute(connect(OpenInterpreter(auto_run=True)), "Count to two.")
    assert shown(result) == COUNTED
    assert result.messages[1].data == {"language": "python"}


def test_the_list_that_it_returns_where_it_does_not_stream_is_the_same() -> None:
    whole = [
        {"role": "assistant", "type": "message", "content": "Let me see."},
        {"role": "assistant", "type": "code", "format": "python", "content": CODE},
        {"role": "computer", "type": "console", "format": "output", "content": "1\n2\n"},
        {"role": "assistant", "type": "message", "content": "It is 1 and 2."},
    ]
    assert shown(execute(connect(Interpreter(lambda message: whole)), "Count to two.")) == COUNTED


def test_a_code_is_executed_once_the_user_agrees() -> None:
    waiting = execute(connect(OpenInterpreter()), "Count to two.")
    assert waiting.status == "waiting"
    assert waiting.question is not None
    assert (waiting.question.prompt, waiting.question.options) == (QUESTION, ["yes", "no"])

    agreed = waiting.answer("yes")
    assert [one for one in shown(agreed) if one[1] != "confirmation"] == COUNTED
    declined = waiting.answer("no")
    assert [one for one in shown(declined) if one[1] != "confirmation"] == COUNTED[:2]


@pytest.mark.parametrize(
    ("more", "prompt"),
    [
        ({"content": "Sure?"}, "Sure?"),
        ({}, "Go on?"),
        ({"content": {"of": "no shape"}}, "Go on?"),
    ],
    ids=["text", "nothing", "unknown"],
)
def test_nothing_that_asks_goes_on_without_an_answer(more: dict[str, Any], prompt: str) -> None:
    waiting = execute(connect(saying({"type": "confirmation", **more}, "done")), "hi")
    assert waiting.question is not None and waiting.question.prompt == prompt
    assert waiting.answer("yes").text == "done"
    assert waiting.answer("no").text == ""


def test_what_was_answered_before_is_not_asked_again() -> None:
    class Twice(OpenInterpreter):
        """Goes on with a second code once the first is executed."""

        def chat(self, message: Any = None, display: bool = True, stream: bool = False, **_: Any) -> Any:
            codes = [one["content"] for one in message if one["type"] == "code"]
            if not codes:
                yield {"role": "assistant", "type": "code", "format": "sh", "content": "one"}
                codes.append("one")
            for code in [codes[-1], *["two"] * (codes[-1] == "one")]:
                if code != codes[-1]:
                    yield {"role": "assistant", "type": "code", "format": "sh", "content": code}
                nested = {"type": "code", "format": "sh", "content": code}
                yield {"role": "computer", "type": "confirmation", "content": nested}
                yield {"role": "computer", "type": "console", "format": "output", "content": f"{code} done"}

    first = execute(connect(Twice()), "Do it.")
    second = first.answer("yes")
    assert second.status == "waiting"
    assert second.question is not None and second.question.prompt.endswith("two")
    assert [one for one in shown(second.answer("yes")) if one[1] != "confirmation"] == [
        ("assistant", "code", "one"),
        ("tool", "console", "one done"),
        ("assistant", "code", "two"),
        ("tool", "console", "two done"),
    ]


def test_an_interpreter_may_ask_by_itself_as_well() -> None:
    class Asks(OpenInterpreter):
        """Asks for a name each time, and then whether to go on."""

        def chat(self, message: Any, *, run: Any) -> Iterator[Any]:  # type: ignore[override]
            name = run.confirm("Who are you?")
            yield f"Hi, {name}. "
            yield {"type": "confirmation", "content": "Sure?"}
            yield "Done."

    first = execute(connect(Asks()), "Do it.")
    second = first.answer("Ada")
    assert second.question is not None and second.question.prompt == "Sure?"
    assert second.answer("yes").text.endswith("Done.")


def test_an_object_that_keeps_the_conversation_is_given_all_of_it() -> None:
    class Remembers:
        """Says what it is given."""

        def __init__(self) -> None:
            self.messages: list[Any] = []

        def chat(self, message: Any) -> str:
            return json.dumps(message)

    url = "data:image/png;base64,iVBORw=="
    conversation = [
        {"role": "user", "content": "Count."},
        {"role": "assistant", "type": "code", "content": "1", "data": {"language": "python"}},
        {"role": "tool", "type": "console", "content": "1\n"},
        {"role": "assistant", "type": "confirmation", "content": "Sure?"},
        {"role": "assistant", "channel": "reasoning", "content": "Hm."},
        {"role": "user", "type": "image", "content": "A cat", "data": {"url": url}},
        {"role": "tool", "type": "function", "data": {"name": "add", "result": 3}},
    ]
    result = execute(connect(Remembers()), conversation)
    assert json.loads(result.text) == [
        {"role": "user", "type": "message", "content": "Count."},
        {"role": "assistant", "type": "code", "format": "python", "content": "1"},
        {"role": "computer", "type": "console", "format": "output", "content": "1\n"},
        {"role": "user", "type": "image", "format": "base64.png", "content": "iVBORw=="},
        {"role": "assistant", "type": "message", "content": "add = 3"},
    ]


def test_code_within_a_chunk_is_taken_out_with_its_format_and_language() -> None:
    nested = {"language": "python", "format": "script", "code": "print(2)"}
    result = execute(connect(saying({"type": "code", "content": nested})), "hi")
    assert shown(result) == [("assistant", "code", "print(2)")]
    assert result.messages[0].data == {"language": "python", "format": "script"}


def test_the_agent_that_speaks_is_the_author() -> None:
    said = [
        {"type": "message", "content": "I plan.", "agent_name": "planner"},
        {"type": "message", "content": "I do.", "agent": {"name": "executor"}},
        {"type": "console", "content": "done\n", "agent": {"name": "e" * 300}},
    ]
    result = execute(connect(saying(*said)), "hi")
    assert [(message.author, message.content) for message in result.messages] == [
        ("planner", "I plan."),
        ("executor", "I do."),
        ("e" * 200, "done\n"),
    ]


def test_start_and_end_tell_messages_of_one_kind_apart() -> None:
    said = [
        {"type": "message", "start": True, "content": "One"},
        {"type": "message", "start": True, "content": "Two"},
        {"type": "message", "content": " and", "end": True},
        {"type": "message", "content": "three"},
    ]
    assert [content for *_, content in shown(execute(connect(saying(*said)), "hi"))] == [
        "One", "Two and", "three",
    ]  # fmt: skip


def test_declared_rules_say_where_a_chunk_has_what() -> None:
    mapping = [
        MappingRule("kind", "type"),
        MappingRule("payload.body.text", "content", ("payload.body",)),
        MappingRule("payload.source", "content", ("payload.lang",)),
        MappingRule("payload.lang", "language"),
        MappingRule("who", "agent_name", ("kind", "who")),
    ]
    said = [
        {"type": "event", "kind": "message", "payload": {"body": {"text": "See:"}}, "who": "ada"},
        {"type": "event", "kind": "code", "payload": {"source": "1", "lang": "lua"}, "who": "ada"},
    ]
    result = execute(connect(saying(*said), mapping=mapping), "hi")
    assert shown(result) == [("assistant", "text", "See:"), ("assistant", "code", "1")]
    assert [message.author for message in result.messages] == ["ada", "ada"]
    assert result.messages[1].data["language"] == "lua"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (MappingRule("a", "text"), "a chunk has no 'text'; it has type, role, content"),
        (MappingRule("a", "content", "b"), r"a tuple of paths: \('b',\)"),  # type: ignore[arg-type]
        (("a", "content"), "not of tuple"),
    ],
    ids=["name", "required", "tuple"],
)
def test_a_wrong_rule_is_refused(rule: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        connect(Chatty(), mapping=[rule])


def test_chunks_of_models_pass_through() -> None:
    choice = {"delta": {"content": "Hello"}, "finish_reason": "stop"}
    said = {"object": "chat.completion.chunk", "id": "a", "choices": [choice]}
    assert execute(connect(saying(said)), "hi").text == "Hello"


def test_rules_of_the_author_come_first() -> None:
    rules = [{"when": {"type": "message", "mood": ...}, "step": "mood"}]
    result = execute(connect(saying({"type": "message", "mood": "glad"}, "Hi"), rules=rules), "hi")
    assert ({"type": "step", "description": "glad"} in result.events, result.text) == (True, "Hi")


@pytest.mark.parametrize("chunk", [{"type": "audio", "content": "x"}, 5, b"bytes"], ids=str)
def test_a_chunk_that_is_not_known_fails_the_run(chunk: Any) -> None:
    result = execute(connect(saying(chunk)), "hi")
    assert result.status == "error"
    assert "mapping=" in str(result.error) or "mapping=" in result.log


def test_a_generator_is_closed_where_the_run_is_cancelled() -> None:
    closed = []

    def chat(message: str) -> Iterator[str]:
        try:
            yield "one"
            yield "two"
        finally:
            closed.append(True)

    assert execute(connect(Interpreter(chat)), "hi", cancel_after=1).status == "cancelled"
    assert closed == [True]


def test_the_protocol_costs_an_import_of_the_sdk_nothing() -> None:
    code = "import sys, runtime.sdk; sys.exit(any(n in sys.modules for n in ('inspect', 'dataclasses')))"
    subprocess.run([sys.executable, "-c", code], check=True)
