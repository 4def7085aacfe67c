"""The workers for language models, against servers on this machine that speak their APIs."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from runtime.child import Children, protocol
from runtime.child.choosing import ask
from runtime.errors import ChildFailed
from runtime.model import Channel
from runtime.settings import Settings
from tests.support.fake_model import (
    HELLO,
    REGISTRY,
    WITHIN,
    FakeModel,
    chunk,
    environ_of,
    event,
    said_by,
    text,
)


def test_openai_passes_on_text_reasoning_and_usage(model: FakeModel, say: Any) -> None:
    usage = {
        "prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 4},
    }  # fmt: skip
    model.answer = lambda: iter(
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"reasoning_content": "Let me "}),
            chunk({"reasoning_content": "see."}),
            chunk({"content": "  Hi"}),
            chunk({"content": "\n👋"}),
            chunk({}, finish="stop"),
            chunk(usage=usage),
            b"data: [DONE]\n\n",
        ]
    )
    said = say("openai_worker", HELLO, model="tiny", temperature=0.5, system_prompt="Be brief.", max_tokens=9)
    assert text(said) == "  Hi\n👋"
    assert text(said, "1") == "Let me see."
    assert protocol.Start("1", channel=Channel.REASONING) in said
    assert protocol.Usage({"input_tokens": 7, "output_tokens": 5, "cached_input_tokens": 4}) in said
    assert said[-1] == protocol.Done()
    assert model.headers[0]["authorization"] == "Bearer sk-test"
    assert model.requests == [
        {
            "model": "tiny",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0.5,
            "max_tokens": 9,
        }
    ]


def test_openai_is_asked_for_json_of_a_schema(model: FakeModel, say: Any) -> None:
    model.answer = lambda: iter(of_openai('{"a": 1}'))
    loose = {"type": "object", "properties": {"a": {"type": "integer"}}}
    strict = {**loose, "required": ["a"], "additionalProperties": False}
    for schema in (loose, strict):
        assert text(say("openai_worker", HELLO, answer_schema=schema)) == '{"a": 1}'
    said = say("openai_worker", HELLO, answer_schema=strict, api="responses")
    assert isinstance(said[-1], protocol.Failed), "the fake speaks chat completions"

    formats = [request.get("response_format") for request in model.requests[:2]]
    assert formats == [
        {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema, "strict": schema is strict},
        }
        for schema in (loose, strict)
    ]
    assert model.requests[2]["text"] == {
        "format": {"type": "json_schema", "name": "answer", "schema": strict, "strict": True}
    }


def test_models_are_told_the_conversation_as_text(model: FakeModel, say: Any) -> None:
    model.answer = lambda: iter([chunk({"content": "ok"}, finish="length"), b"data: [DONE]\n\n"])
    said = say(
        "openai_worker",
        HELLO,
        {"role": "assistant", "channel": "reasoning", "content": "thinking"},
        {
            "role": "assistant",
            "type": "function",
            "content": "",
            "data": {"name": "add", "arguments": {"a": 1}},
        },
        {
            "role": "tool",
            "type": "function",
            "content": "3",
            "data": {"name": "add", "arguments": [1], "result": 3},
        },
        {"role": "assistant", "type": "code", "content": "x", "data": {"language": "python"}},
        {"role": "assistant", "type": "confirmation", "content": "Sure?", "data": {"answer": "yes"}},
        {"role": "user", "content": "  "},
    )
    assert [(m["role"], m["content"]) for m in model.requests[0]["messages"]] == [
        ("user", "Hello"),
        (
            "assistant",
            'add({"a": 1})\n\nadd([1]) = 3\n\n```python\nx\n```\n\nSure?\nAnswer: yes',
        ),
    ]
    assert any(isinstance(one, protocol.Step) and "cut off" in one.description for one in said)


def test_models_are_shown_pictures_and_openai_compatible_ones_only_if_they_see(
    model: FakeModel, say: Any
) -> None:
    url = "data:image/png;base64,AQID"
    picture = {"role": "user", "type": "image", "content": "A dot", "data": {"url": url}}

    say("openai_worker", picture, HELLO)
    say("openai_worker", picture, HELLO, pictures=False)
    say("anthropic_worker", picture, HELLO)

    texts = [{"type": "text", "text": "A dot"}, {"type": "text", "text": "Hello"}]
    source = {"type": "base64", "media_type": "image/png", "data": "AQID"}
    assert [request["messages"][0]["content"] for request in model.requests] == [
        [{"type": "image_url", "image_url": {"url": url}}, *texts],
        "A dot\n\nHello",
        [{"type": "image", "source": source}, *texts],
    ]


SAID = {"id": "m1", "role": "assistant", "type": "text", "channel": "answer", "content": "Once upon \n"}
THOUGHT = {"id": "m2", "role": "assistant", "type": "text", "channel": "reasoning", "content": "Hm."}


def of_openai(*pieces: str) -> list[bytes]:
    words = (chunk({"content": piece}) for piece in pieces)
    return [*words, chunk({}, finish="stop"), b"data: [DONE]\n\n"]


def of_anthropic(*pieces: str) -> list[bytes]:
    deltas = ({"type": "text_delta", "text": piece} for piece in pieces)
    return [*(event("content_block_delta", index=0, delta=delta) for delta in deltas), event("message_stop")]


@pytest.mark.parametrize("owner", ["openai", "vllm", "llamacpp"])
def test_openai_goes_on_with_half_an_answer(model: FakeModel, say: Any, owner: str) -> None:
    model.owner = owner
    model.answer = lambda: iter(of_openai(" ", "\n", "a time"))

    said = say("openai_worker", HELLO, lost={"open": [SAID]})

    assert text(said) == "a time"
    [request] = model.requests
    assert request["messages"][:2] == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Once upon"},
    ]
    exactly = {"continue_final_message": True, "add_generation_prompt": False}
    if owner == "openai":
        [instruction] = request["messages"][2:]
        assert instruction["role"] == "user" and "cut off" in instruction["content"]
        assert not exactly.keys() & request.keys()
    else:
        assert len(request["messages"]) == 2
        assert exactly.items() <= request.items()


def test_openai_is_told_to_go_on_where_its_server_refuses_half_an_answer(model: FakeModel, say: Any) -> None:
    model.owner = "llamacpp"
    refused = json.dumps({"error": {"message": "incompatible with enable_thinking"}}).encode()

    def answer() -> Iterator[bytes]:
        model.status = 200
        return iter([refused] if len(model.requests) == 1 else of_openai("a time"))

    model.status, model.answer = 400, answer
    said = say("openai_worker", HELLO, lost={"open": [SAID]})
    assert text(said) == "a time"
    assert [len(request["messages"]) for request in model.requests] == [2, 3]


def test_a_model_that_goes_on_thinks_for_itself(model: FakeModel, say: Any) -> None:
    model.owner = "vllm"
    model.answer = lambda: iter([chunk({"reasoning_content": "Where was I?"}), *of_openai("a time")])

    said = say("openai_worker", HELLO, lost={"earlier": [THOUGHT], "open": [SAID]})
    assert [type(one) for one in said] == [protocol.Delta, protocol.Done]
    assert text(said) == "a time"
    assert [message["role"] for message in model.requests[0]["messages"]] == ["user", "assistant", "user"]

    model.answer = lambda: iter(of_openai("<think>hm</think>\n\n", "\na time"))
    assert text(say("openai_worker", HELLO, lost={"open": [SAID]})) == "\na time"

    model.answer = lambda: iter(of_anthropic("\n", "a time"))
    said = say("anthropic_worker", HELLO, lost={"earlier": [THOUGHT], "open": [SAID]}, thinking=True)
    assert text(said) == "\na time"
    assert "thinking" not in model.requests[-1]


def test_anthropic_goes_on_with_half_an_answer(model: FakeModel, say: Any) -> None:
    model.answer = lambda: iter(of_anthropic(" \n", "a time"))
    said = say("anthropic_worker", HELLO, lost={"open": [SAID]})
    assert text(said) == "a time"
    assert model.requests[0]["messages"] == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Once upon"},
    ]


def test_anthropic_begins_anew_where_its_model_refuses_half_an_answer(model: FakeModel, say: Any) -> None:
    model.fails(400, type="invalid_request_error", message="This model does not support prefill.")
    assert say("anthropic_worker", HELLO, lost={"open": [SAID]}) == [protocol.Discard()]
    assert isinstance(say("anthropic_worker", HELLO)[-1], protocol.Failed)


@pytest.mark.parametrize("worker_id", ["openai_worker", "anthropic_worker"])
def test_models_are_not_asked_again_for_a_whole_answer_nor_to_go_on_with_a_thought(
    model: FakeModel, say: Any, worker_id: str
) -> None:
    assert say(worker_id, HELLO, lost={"earlier": [THOUGHT, SAID]}) == [protocol.Done()]
    assert say(worker_id, HELLO, lost={"open": [THOUGHT]}) == [protocol.Discard()]
    assert say(worker_id, HELLO, lost={"earlier": [THOUGHT]}) == [protocol.Discard()]
    assert model.requests == []


def test_openai_gives_its_key_only_to_servers_that_the_installation_trusts(
    model: FakeModel, settings: Settings
) -> None:
    environ = environ_of(model.url, OPENAI_PRIVATE_BASE_URLS="true")
    model.answer = lambda: iter([chunk({"content": "ok"}, finish="stop"), b"data: [DONE]\n\n"])

    with closing(Children(settings, environ)) as children:
        for url in (f"{model.url}/v1", f"{model.url}/other/v1/", f"{model.url}/strange/v1"):
            assert text(said_by(children, "openai_worker", HELLO, base_url=url)) == "ok"

    assert [headers["authorization"] for headers in model.headers] == [
        "Bearer sk-test",
        "Bearer sk-test",
        "Bearer none",
    ]


HOSTS = [
    "127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0", "[::1]", "[::]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
    "user:secret@127.0.0.1",
]  # fmt: skip
"""Ways of writing this machine."""


@pytest.mark.parametrize("host", HOSTS)
def test_a_user_leads_openai_to_no_private_address(model: FakeModel, say: Any, host: str) -> None:
    port = model.url.rpartition(":")[2]
    model.answer = lambda: iter([chunk({"content": "secret"}, finish="stop"), b"data: [DONE]\n\n"])

    said = say("openai_worker", HELLO, base_url=f"http://{host}:{port}/strange/v1")

    assert model.requests == []
    failed = said[-1]
    assert isinstance(failed, protocol.Failed) and not failed.retryable
    assert "not at a public address" in failed.message and "OPENAI_OTHER_BASE_URLS" in failed.message
    assert "user:secret" not in failed.message


def test_openai_does_not_tell_a_user_which_ports_are_open(model: FakeModel, say: Any) -> None:
    with socket.socket() as silent, socket.socket() as closed:
        for each in (silent, closed):
            each.bind(("127.0.0.1", 0))
        silent.listen()
        ports = [model.url.rpartition(":")[2], silent.getsockname()[1], closed.getsockname()[1]]
        said = [say("openai_worker", HELLO, base_url=f"http://127.0.0.1:{port}/strange/v1") for port in ports]

    assert said[0] == said[1] == said[2]
    assert [type(one) for one in said[0]] == [protocol.Failed]


@pytest.mark.parametrize(
    ("status", "error", "words", "retryable"),
    [
        (401, {"message": "Bad key."}, "refused the key", False),
        (404, {"message": "No such model."}, "does not have the model", False),
        (400, {"message": "Too long."}, "answered 400", False),
        (429, {"message": "Pay.", "code": "insufficient_quota"}, "quota", False),
        (429, {"message": "Slow down."}, "too often", True),
        (503, {"message": "Overloaded."}, "answered 503", True),
    ],
)
def test_openai_errors_are_told_in_words(
    model: FakeModel, say: Any, status: int, error: Any, words: str, retryable: bool
) -> None:
    model.fails(status, **error)
    failed = say("openai_worker", HELLO)[-1]
    assert isinstance(failed, protocol.Failed)
    assert words in failed.message and error["message"] in failed.message
    assert failed.retryable is retryable


def test_nothing_to_answer_is_told(say: Any) -> None:
    assert say("openai_worker")[-1] == protocol.Failed("There is no message to answer.", retryable=False)
    assert say("anthropic_worker")[-1] == protocol.Failed("There is no message to answer.", retryable=False)


@pytest.mark.parametrize("worker_id", ["openai_worker", "anthropic_worker"])
def test_cancelling_hangs_up(model: FakeModel, children: Children, worker_id: str) -> None:
    started = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "so"})
    first = {"openai_worker": chunk({"content": "so"}), "anthropic_worker": started}[worker_id]
    ping = {"openai_worker": b": ping\n\n", "anthropic_worker": event("ping")}[worker_id]

    def answer() -> Iterator[bytes]:
        yield first
        while not model.hung_up.wait(0.02):
            yield ping

    model.answer = answer
    child = children.start(REGISTRY.get(worker_id), run_id="r", environ={})
    line = {"type": "run", "run": {}, "config": {}, "messages": [HELLO]}
    child.send(json.dumps(line).encode())
    said = child.read()
    while b'"so"' not in said:
        said += child.read()
    child.stop(WITHIN)
    assert model.hung_up.wait(WITHIN)
    assert child.wait(0) == 143
    child.close()


def test_anthropic_passes_on_text_thinking_and_usage(model: FakeModel, say: Any) -> None:
    message = {
        "id": "m", "type": "message", "role": "assistant", "content": [], "model": "c", "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 1, "cache_read_input_tokens": 2},
    }  # fmt: skip
    thinking = {"type": "thinking", "thinking": "", "signature": ""}
    end = {"stop_reason": "max_tokens", "stop_sequence": None}
    model.answer = lambda: iter(
        [
            event("message_start", message=message),
            event("content_block_start", index=0, content_block=thinking),
            event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "Hm."}),
            event("content_block_stop", index=0),
            event("content_block_start", index=1, content_block={"type": "text", "text": ""}),
            event("content_block_delta", index=1, delta={"type": "text_delta", "text": " Hi\n"}),
            event("content_block_delta", index=1, delta={"type": "text_delta", "text": "there"}),
            event("content_block_stop", index=1),
            event("message_delta", delta=end, usage={"output_tokens": 6}),
            event("message_stop"),
        ]
    )  # fmt: skip
    system = {"role": "system", "content": "From the thread."}
    said = say("anthropic_worker", system, HELLO, system_prompt="Be brief.", thinking=True, model="claude-x")
    assert text(said) == " Hi\nthere"
    assert text(said, "1") == "Hm."
    usage = [one.data for one in said if isinstance(one, protocol.Usage)]
    assert usage[0] == {"input_tokens": 9, "output_tokens": 1, "cached_input_tokens": 2}
    assert usage[-1]["output_tokens"] == 6
    assert any(isinstance(one, protocol.Step) and "cut off" in one.description for one in said)
    assert said[-1] == protocol.Done()
    sent = model.headers[0]  # older versions of the library send x-api-key
    assert sent.get("authorization", sent.get("x-api-key", "")).endswith("sk-ant-test")
    assert model.requests[0]["system"] == "Be brief.\n\nFrom the thread."
    assert model.requests[0]["messages"] == [{"role": "user", "content": "Hello"}]
    assert model.requests[0]["thinking"]["type"] == "adaptive"


@pytest.mark.parametrize(
    ("status", "words", "retryable"),
    [
        (401, "ANTHROPIC_API_KEY", False),
        (404, "does not have the model", False),
        (429, "too often", True),
        (529, "529", True),
    ],
)
def test_anthropic_errors_are_told_in_words(
    model: FakeModel, say: Any, status: int, words: str, retryable: bool
) -> None:
    model.fails(status, type="x_error", message="Because.")
    failed = say("anthropic_worker", HELLO)[-1]
    assert isinstance(failed, protocol.Failed)
    assert words in failed.message and "Because." in failed.message
    assert failed.retryable is retryable


def test_model_workers_are_unavailable_without_their_key() -> None:
    environ = {"PATH": os.environ["PATH"]}
    assert (
        REGISTRY.get("openai_worker").unavailable(environ)
        == "OPENAI_API_KEY is not set; set it where the pool runs"
    )
    assert REGISTRY.get("anthropic_worker").unavailable({**environ, "ANTHROPIC_API_KEY": "x"}) is None


@pytest.mark.parametrize("worker", ["openai_worker", "tool_agent", "anthropic_worker"])
def test_the_models_of_the_server_may_be_chosen(model: FakeModel, children: Children, worker: str) -> None:
    model.models = ["large", "small"]
    assert ask(children, REGISTRY.get(worker)) == {"model": ["large", "small"]}
    model.models_page = b"<html>Sign in</html>"
    with pytest.raises(ChildFailed, match="could not say"):
        ask(children, REGISTRY.get(worker))
