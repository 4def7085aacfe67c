"""serve(): functions that stream the chunks of libraries, whose shapes were recorded, are workers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.sdk import serve
from runtime.sdk.loader import load
from runtime.sdk.testing import Result, execute


def chat(delta: dict[str, Any], finish: str | None = None, id: str = "chatcmpl-1") -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": id, "object": "chat.completion.chunk", "model": "gpt", "choices": [choice], "usage": None}


def call_of(index: int, arguments: str, id: str | None = None, name: str | None = None) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}


OPENAI_CHAT = [
    chat({"role": "assistant", "content": ""}),
    chat({"reasoning_content": "Two tools"}),
    chat({"reasoning_content": " are needed."}),
    chat({"content": "Let me "}),
    chat({"content": "see."}),
    chat(call_of(0, "", "call_a", "add")),
    chat(call_of(0, '{"a": 1')),
    chat(call_of(0, "}")),
    chat(call_of(1, "{}", "call_b", "now")),
    chat({}, "tool_calls"),
    {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "choices": [],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    },
    {"role": "tool", "tool_call_id": "call_a", "content": "2"},
    chat({"content": "Two."}, id="chatcmpl-2"),
    chat({}, "stop", "chatcmpl-2"),
    {
        "id": "chatcmpl-2",
        "object": "chat.completion.chunk",
        "choices": [],
        "usage": {"prompt_tokens": 20, "completion_tokens": 1},
    },
]

OPENAI_RESPONSES = [
    {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}},
    {"type": "response.output_item.added", "item": {"id": "rs_1", "type": "reasoning", "summary": []}},
    {"type": "response.reasoning_summary_text.delta", "item_id": "rs_1", "delta": "Two tools "},
    {"type": "response.reasoning_summary_text.delta", "item_id": "rs_1", "delta": "are needed."},
    {"type": "response.output_item.done", "item": {"id": "rs_1", "type": "reasoning"}},
    {"type": "response.output_text.delta", "item_id": "msg_1", "content_index": 0, "delta": "Let me "},
    {"type": "response.output_text.delta", "item_id": "msg_1", "content_index": 0, "delta": "see."},
    {"type": "response.output_text.done", "item_id": "msg_1", "text": "Let me see."},
    {"type": "response.output_item.done", "item": {"id": "msg_1", "type": "message"}},
    {
        "type": "response.output_item.added",
        "output_index": 1,
        "item": {"id": "fc_1", "type": "function_call", "call_id": "call_a", "name": "add", "arguments": ""},
    },
    {
        "type": "response.function_call_arguments.delta",
        "output_index": 1,
        "item_id": "fc_1",
        "delta": '{"a": 1',
    },
    {"type": "response.function_call_arguments.delta", "output_index": 1, "item_id": "fc_1", "delta": "}"},
    {
        "type": "response.function_call_arguments.done",
        "output_index": 1,
        "item_id": "fc_1",
        "arguments": '{"a": 1}',
    },
    {"type": "response.output_item.done", "output_index": 1, "item": {"id": "fc_1", "type": "function_call"}},
    {
        "type": "response.output_item.added",
        "output_index": 2,
        "item": {"id": "fc_2", "type": "function_call", "call_id": "call_b", "name": "now", "arguments": ""},
    },
    {"type": "response.function_call_arguments.delta", "output_index": 2, "item_id": "fc_2", "delta": "{}"},
    {
        "type": "response.completed",
        "response": {
            "id": "resp_1",
            "usage": {
                "input_tokens": 10,
                "output_tokens": 7,
                "input_tokens_details": {"cached_tokens": 4},
                "output_tokens_details": {"reasoning_tokens": 0},
            },
        },
    },
    {"type": "function_call_output", "call_id": "call_a", "output": "2"},
    {"type": "response.output_text.delta", "item_id": "msg_2", "delta": "Two."},
    {
        "type": "response.completed",
        "response": {"id": "resp_2", "usage": {"input_tokens": 20, "output_tokens": 1}},
    },
]

ANTHROPIC = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "usage": {"input_tokens": 10, "output_tokens": 1, "cache_read_input_tokens": 4},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Two tools"}},
    {"type": "ping"},
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "thinking_delta", "thinking": " are needed."},
    },
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "EqQ"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Let me "}},
    {"type": "text", "text": "Let me ", "snapshot": "Let me "},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "see."}},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {"type": "tool_use", "id": "call_a", "name": "add", "input": {}},
    },
    {
        "type": "content_block_delta",
        "index": 2,
        "delta": {"type": "input_json_delta", "partial_json": '{"a": 1'},
    },
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "}"}},
    {"type": "content_block_stop", "index": 2},
    {
        "type": "content_block_start",
        "index": 3,
        "content_block": {"type": "tool_use", "id": "call_b", "name": "now", "input": {}},
    },
    {"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
    {"type": "content_block_stop", "index": 3},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
    {"type": "tool_result", "tool_use_id": "call_a", "content": "2"},
    {"type": "message_start", "message": {"id": "msg_2", "usage": {"input_tokens": 20, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Two."}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
    {"type": "message_stop"},
]


def said(content: Any, id: str = "run-1", **more: Any) -> dict[str, Any]:
    fields = {"type": "AIMessageChunk", "id": id, "tool_call_chunks": [], "usage_metadata": None}
    return {**fields, "content": content, "additional_kwargs": {}, **more}


def piece(index: int, args: str, id: str | None = None, name: str | None = None) -> dict[str, Any]:
    call = {"type": "tool_call_chunk", "index": index, "id": id, "name": name, "args": args}
    return said("", tool_call_chunks=[call])


LANGCHAIN = [
    said([{"type": "thinking", "thinking": "Two tools", "index": 0}]),
    said([{"type": "reasoning", "reasoning": " are needed.", "index": 0}]),
    said([{"type": "text", "text": "Let me ", "index": 1}]),
    said("see."),
    piece(0, "", "call_a", "add"),
    piece(0, '{"a": 1'),
    piece(0, "}"),
    piece(1, "{}", "call_b", "now"),
    said(
        "",
        usage_metadata={"input_tokens": 10, "output_tokens": 5, "input_token_details": {"cache_read": 4}},
    ),
    said("", usage_metadata={"input_tokens": 0, "output_tokens": 2}, chunk_position="last"),
    {"type": "tool", "tool_call_id": "call_a", "content": "2", "status": "success"},
    {"type": "human", "content": "no part of the answer", "additional_kwargs": {}},
    {
        "type": "ai",
        "id": "run-2",
        "content": "Two.",
        "tool_calls": [],
        "additional_kwargs": {},
        "usage_metadata": {"input_tokens": 20, "output_tokens": 1},
    },
]

OPEN_INTERPRETER = [
    {"role": "assistant", "type": "message", "start": True},
    {"role": "assistant", "type": "message", "content": "Let me "},
    {"role": "assistant", "type": "message", "content": "see."},
    {"role": "assistant", "type": "message", "end": True},
    {"role": "assistant", "type": "code", "format": "python", "start": True},
    {"role": "assistant", "type": "code", "format": "python", "content": "print("},
    {"role": "assistant", "type": "code", "format": "python", "content": "2)"},
    {"role": "assistant", "type": "code", "format": "python", "end": True},
    {"role": "computer", "type": "confirmation", "format": "execution", "content": {"type": "code"}},
    {"role": "computer", "type": "console", "start": True},
    {"role": "computer", "type": "console", "format": "active_line", "content": "1"},
    {"role": "computer", "type": "console", "format": "output", "content": "2\n"},
    {"role": "computer", "type": "console", "format": "active_line", "content": None},
    {"role": "computer", "type": "console", "end": True},
    {"role": "computer", "type": "image", "format": "base64.png", "content": "iVBORw=="},
    {"role": "assistant", "type": "message", "content": "Two."},
]


def streaming(chunks: list[Any]) -> Any:
    def agent(run: Any) -> Iterator[Any]:
        yield from chunks

    return serve(agent)


def shown(result: Result) -> list[tuple[str, ...]]:
    """What a reader sees of each message."""
    assert result.error is None, result.error
    assert {message.status for message in result.messages} <= {"complete"}
    return [
        (message.role, message.type, message.channel, message.content or str(message.data.get("result", "")))
        for message in result.messages
    ]


def as_objects(chunk: Any) -> Any:
    """The chunk as libraries have it: objects with attributes."""
    if isinstance(chunk, dict):
        return SimpleNamespace(**{name: as_objects(value) for name, value in chunk.items()})
    return [as_objects(one) for one in chunk] if isinstance(chunk, list) else chunk


ANSWER = ("assistant", "text", "answer")
CALL = ("assistant", "function", "answer")
TWO_CALLS = [
    ("assistant", "text", "reasoning", "Two tools are needed."),
    (*ANSWER, "Let me see."),
    (*CALL, '{"a": 1}'),
    (*CALL, "{}"),
    ("tool", "function", "answer", "2"),
    (*ANSWER, "Two."),
]


@pytest.mark.parametrize("as_library", [False, True], ids=["dicts", "objects"])
@pytest.mark.parametrize("chunks", [OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC, LANGCHAIN])
def test_the_same_answer_is_the_same_in_each_shape(chunks: list[Any], as_library: bool) -> None:
    result = execute(streaming([as_objects(one) for one in chunks] if as_library else chunks), "hi")

    assert shown(result) == TWO_CALLS
    assert result.usage == {"input_tokens": 30, "output_tokens": 8, "cached_input_tokens": 4}
    calls = [message.data for message in result.messages if message.type == "function"]
    assert [(call["name"], call["call_id"]) for call in calls] == [
        ("add", "call_a"),
        ("now", "call_b"),
        ("add", "call_a"),
    ]


def test_code_and_consoles_are_shown_as_such() -> None:
    result = execute(streaming(OPEN_INTERPRETER), "hi")

    assert shown(result) == [
        (*ANSWER, "Let me see."),
        ("assistant", "code", "answer", "print(2)"),
        ("tool", "console", "answer", "2\n"),
        ("assistant", "image", "answer", "A picture."),
        (*ANSWER, "Two."),
    ]
    assert result.messages[1].data == {"language": "python"}


def test_answers_that_are_written_at_the_same_time_are_told_apart() -> None:
    result = execute(streaming([said("on", "a"), said("ei", "b"), said("e", "a"), said("ns", "b")]), "hi")
    assert [content for *_, content in shown(result)] == ["one", "eins"]


HALF = {
    "chat": OPENAI_CHAT[:5],
    "chat-of-other-ids": [chat({"content": "so "}, id="1"), chat({"content": "far"}, id="2")],
    "chat-second": OPENAI_CHAT[:-2],
    "chat-beside-another": [
        chat({"content": "so "}, id="1"),
        chat({"content": "far"}, id="1"),
        chat({"content": "done"}, id="2"),
        chat({}, "stop", "2"),
    ],
    "responses-beside-another": [
        {"type": "response.created", "response": {"id": "1"}},
        {"type": "response.created", "response": {"id": "2"}},
        {"type": "response.output_text.delta", "item_id": "m", "delta": "so far"},
        {"type": "response.completed", "response": {"id": "2"}},
    ],
    "anthropic-beside-another": [ANTHROPIC[0], {**ANTHROPIC[0], "message": {"id": "2"}}, ANTHROPIC[-1]],
    "responses": OPENAI_RESPONSES[:6],
    "anthropic": ANTHROPIC[:-1],
    "langchain": [said("so far", response_metadata={"model_provider": "openai"})],
}
"""Chunks after which the answer's end is missing."""


@pytest.mark.parametrize("api", list(HALF))
def test_a_stream_that_ends_is_not_an_answer_that_ends(api: str) -> None:
    result = execute(streaming(HALF[api]), "hi")
    assert result.status == "queued" and result.error is not None
    assert result.error.message == (
        "The model's server broke off, or its last chunk was not given on: the answer has no end."
    )


def test_answers_that_are_written_at_the_same_time_each_have_an_end() -> None:
    chunks = [
        *(chat({"content": text}, id=id) for id in ("1", "2") for text in ("so ", "far")),
        *(chat({}, "stop", id) for id in ("1", "2")),
    ]
    assert execute(streaming(chunks), "hi").text == "so far\n\nso far"


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_an_answer_that_has_a_reason_to_end_is_complete(finish: str) -> None:
    chunks = [chat({"content": "so far"}, id="1"), chat({}, finish, "2"), chat({"content": ""}, id="2")]
    assert execute(streaming(chunks), "hi").text == "so far"


def test_an_answer_that_the_user_does_not_want_needs_no_end() -> None:
    rules = [{"when": {"ask": ...}, "confirm": {"prompt": "ask"}}]

    def agent(run: Any) -> Iterator[Any]:
        yield chat({"content": "so far"})
        yield {"ask": "Go on?"}

    asked = execute(serve(agent, rules=rules), "hi")
    assert asked.status == "waiting"
    assert asked.answer("no").status == "success"


def test_text_is_said_as_it_is() -> None:
    result = execute(streaming(["two ", "", None, "words"]), "hi")
    assert shown(result) == [(*ANSWER, "two words")]


@pytest.mark.parametrize(
    ("chunk", "retryable"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, True),
        ({"type": "error", "error": {"type": "not_found_error", "message": "Overloaded"}}, False),
        ({"type": "error", "code": "server_error", "message": "Overloaded"}, True),
        ({"type": "response.failed", "response": {"error": {"message": "Overloaded"}}}, False),
    ],
)
def test_an_error_of_a_model_fails_the_run_and_leaves_no_call_open(
    chunk: dict[str, Any], retryable: bool
) -> None:
    worker = streaming([chat(call_of(0, "{}", "call_a", "add")), chunk])
    assert execute(worker, "hi").status == ("queued" if retryable else "error")
    result = execute(worker, "hi", max_attempts=1)
    assert (result.status, str(result.error)) == ("error", "Overloaded")
    assert result.messages[-1].data == {
        "call_id": "call_a", "name": "add", "result": "Overloaded", "is_error": True,
    }  # fmt: skip


def test_a_failed_call_is_shown_as_failed() -> None:
    chunks = [piece(0, "{}", "call_a", "add"), {"type": "tool", "tool_call_id": "call_a", "content": "no"}]
    chunks[1]["status"] = "error"
    assert execute(streaming(chunks), "hi").messages[-1].data["is_error"] is True


def test_an_author_says_what_other_chunks_mean() -> None:
    def agent(run: Any) -> Iterator[dict[str, Any]]:
        yield {"event": "thought", "value": {"words": "hm"}}
        yield {"event": "token", "value": {"words": "so"}}
        yield {"event": "token", "value": {"words": " be it"}}
        yield {"event": "finished"}

    rules: list[dict[str, Any]] = [
        {"when": {"event": "token"}, "text": "value.words"},
        {"when": {"event": "thought"}, "reasoning": "value.words"},
        {"when": {"event": "fin*"}},
    ]
    assert shown(execute(serve(agent, rules=rules), "hi")) == [
        ("assistant", "text", "reasoning", "hm"),
        (*ANSWER, "so be it"),
    ]


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({}, "png"),
        ({"format": None}, "png"),
        ({"format": "base64"}, "png"),
        ({"format": "base64.JPG"}, "jpeg"),
        ({"format": "webp"}, "webp"),
        ({"format": 7}, "png"),
    ],
    ids=["none", "null", "base64", "jpg", "webp", "number"],
)
def test_a_picture_has_a_type_that_is_known(more: dict[str, Any], kind: str) -> None:
    rule = {"when": {"picture": ...}, "image": {"base64": "picture", "format": "format"}}
    worker = serve(lambda _: iter([{"picture": "aGk=", **more}]), rules=[rule])
    result = execute(worker, "draw")
    assert result.error is None, result.error
    assert [one.data["url"] for one in result.messages] == [f"data:image/{kind};base64,aGk="]


@pytest.mark.parametrize(("language", "what"), [("sh", "sh code"), (None, "code")], ids=["sh", "none"])
def test_a_rule_asks_before_a_code_is_executed(language: str | None, what: str) -> None:
    rule = {"when": {"kind": "code"}, "confirm": {"code": "source", "language": "language"}}
    chunk = {"kind": "code", "source": "ls", "language": language}

    waiting = execute(serve(lambda _: iter([chunk]), rules=[rule]), "hi")

    assert waiting.question is not None
    assert waiting.question.prompt == f"Execute this {what}?\n\nls"


def test_a_rule_of_the_author_counts_instead_of_a_known_one() -> None:
    def agent(run: Any) -> Iterator[dict[str, Any]]:
        yield chat({"content": "hush"})
        yield chat({"content": "hush", "audio": {"transcript": "loud"}}, "stop")

    rule = {"when": {"choices.0.delta.audio": ...}, "text": "choices.0.delta.audio.transcript", "of": "id"}
    assert execute(serve(agent, rules=[rule]), "hi").text == "hushloud"


@pytest.mark.parametrize(
    ("rule", "problem"),
    [({"when": {}, "txt": ""}, "a rule has no 'txt'; it has"), ({"text": ""}, "a rule says when it counts")],
)
def test_a_rule_that_is_none_is_refused_at_once(rule: dict[str, Any], problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        serve(lambda run: "", rules=[rule])


def test_a_chunk_that_nobody_knows_fails_the_run_and_says_what_to_do() -> None:
    result = execute(streaming([{"event": "token", "value": "so"}]), "hi")
    assert "what a chunk with event, value means; say so with a rule: serve(…, rules=" in str(result.error)


@pytest.mark.parametrize("wrong", [object(), "text", dict, None])
def test_serve_says_what_it_takes(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"serve\(\) takes a LangGraph graph, an Agent of .*; this is"):
        serve(wrong)


class Stream:
    """A stream as libraries have it: to be closed."""

    closed = 0

    def __iter__(self) -> Iterator[Any]:
        yield from OPENAI_CHAT

    def close(self) -> None:
        type(self).closed += 1


class AsyncStream:
    """The same for an event loop."""

    closed = 0

    async def __aiter__(self) -> AsyncIterator[Any]:
        for chunk in OPENAI_CHAT:
            await asyncio.sleep(0)
            yield chunk

    async def close(self) -> None:
        type(self).closed += 1


async def streaming_later(run: Any) -> AsyncStream:
    return AsyncStream()


@pytest.mark.parametrize(
    ("agent", "stream"),
    [
        (lambda run: Stream(), Stream),
        (lambda run: AsyncStream(), AsyncStream),
        (streaming_later, AsyncStream),
    ],
)
def test_a_function_returns_a_librarys_stream_which_is_closed(agent: Any, stream: Any) -> None:
    before = stream.closed
    assert shown(execute(serve(agent), "hi")) == TWO_CALLS
    assert stream.closed == before + 1

    cancelled = execute(serve(agent), "hi", cancel_after=3)
    assert cancelled.status == "cancelled"
    assert stream.closed == before + 2


def test_a_function_is_given_what_input_makes_of_the_run() -> None:
    agent = serve(str.upper, input=lambda run: run.messages[-1].content)
    assert execute(agent, "one two").text == "ONE TWO"


def worker_file(folder: Path, text: str) -> Path:
    path = folder / "served.py"
    path.write_text(f"from runtime.sdk import Run, serve, worker\n\n{text}")
    return path


def test_a_file_that_serves_an_agent_is_a_worker(tmp_path: Path) -> None:
    path = worker_file(tmp_path, "def agent(run):\n    yield 'served'\n\n\nserve(agent)\n")
    assert execute(path, "hi").text == "served"


@pytest.mark.parametrize("other", ["serve(agent)", "@worker\ndef other(run): ..."])
def test_a_file_has_one_worker(tmp_path: Path, other: str) -> None:
    path = worker_file(tmp_path, f"def agent(run): ...\n\n\nrun = serve(agent)\n\n{other}\n")
    with pytest.raises(ImportError, match="several functions as its worker; leave one"):
        execute(path, "hi")


MARKED = """
import functools
from runtime.sdk import worker

class Anything:
    \"\"\"What has an answer to every name, such as a client that sends them on.\"\"\"
    __slots__ = ()
    def __getattr__(self, name):
        return ["no hash"]

class Text(Anything):
    def __getattr__(self, name):
        return name

class Unbound(Anything):
    def __getattr__(self, name):
        raise RuntimeError("outside of a request")
    __dict__ = property(lambda self: self.context)

anything, text, unbound = Anything(), Text(), Unbound()

@worker.startup
def start(): ...

also_start = start

@worker.choices("model")
@functools.cache
def models():
    return ["m"]

class Server:
    @worker.choices("voice")
    def voices(self):
        return ["v"]

voices = Server().voices

@worker
def answer(run):
    return "yes"
"""


def test_what_is_marked_is_found_beside_things_that_answer_to_any_name(tmp_path: Path) -> None:
    (tmp_path / "marked.py").write_text(MARKED)
    loaded = load(str(tmp_path / "marked.py"))
    assert [one.__name__ for one in loaded.startups] == ["start"]
    offered = {field: function() for field, function in loaded.choices.items()}
    assert offered == {"model": ["m"], "voice": ["v"]}
    assert execute(tmp_path / "marked.py", "hi").text == "yes"


def test_the_adapters_cost_a_worker_nothing_that_serves_no_agent() -> None:
    code = "import sys, runtime.sdk; sys.exit(any('adapters' in name for name in sys.modules))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_serve_imports_no_library_that_the_worker_has_not_imported() -> None:
    code = """
import sys
from runtime.sdk import serve

serve(lambda run: "")
sys.exit(any(name in sys.modules for name in ("langgraph", "langchain_core", "agents", "pydantic_ai", "mcp")))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
