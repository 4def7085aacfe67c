"""Answers that do not end as answers do: each is an error that may be tried again, and keeps the part."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from typing import Any

import pytest

from runtime.child import Children, protocol
from runtime.settings import Settings
from tests.support.fake_model import HELLO, FakeModel, chunk, environ_of, event, said_by, text
from tests.support.frameworks import need

PAGE = b"<!doctype html><title>Sign in</title><p>Please sign in."


def response_event(type: str, number: int, **more: Any) -> bytes:
    """One event of the Responses API."""
    data = {"type": type, "sequence_number": number, **more}
    return f"event: {type}\ndata: {json.dumps(data)}\n\n".encode()


RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "in_progress",
    "output": [], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
}  # fmt: skip
BEGUN = {
    "chat": [chunk({"content": "so "}), chunk({"content": "far"})],
    "responses": [
        response_event("response.created", 0, response=RESPONSE),
        response_event("response.output_text.delta", 1, item_id="i", output_index=0, content_index=0,
                       delta="so far", logprobs=[]),
    ],
    "anthropic": [
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": "so far"}),
    ],
}  # fmt: skip
"""Half an answer of each API."""
OVERLOADED = {
    "chat": b'data: {"error": {"message": "Overloaded", "type": "server_error"}}\n\n',
    "responses": response_event("error", 2, code="server_error", message="Overloaded", param=None),
    "anthropic": event("error", error={"type": "overloaded_error", "message": "Overloaded"}),
}
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
WORKERS = {
    "chat": ("openai_worker", {}),
    "responses": ("openai_worker", {"api": "responses"}),
    "anthropic": ("anthropic_worker", {}),
}
each_api = pytest.mark.parametrize("api", list(WORKERS))
each_connection = pytest.mark.parametrize("api", ["chat", "anthropic"])
"""Without the one that is taken up again when it ends: test_background_responses.py."""


def failure(said: list[protocol.WorkerEvent]) -> protocol.Failed:
    failed = said[-1]
    assert isinstance(failed, protocol.Failed), said
    assert not any(isinstance(one, protocol.Done) for one in said)
    return failed


@each_connection
def test_a_stream_that_ends_is_not_an_answer_that_ends(model: FakeModel, say: Any, api: str) -> None:
    worker, config = WORKERS[api]
    model.answer = lambda: iter(BEGUN[api])
    said = say(worker, HELLO, **config)
    assert text(said) == "so far"
    failed = failure(said)
    assert failed.retryable
    assert failed.message == "127.0.0.1 broke off: the answer has no end."


def test_done_is_no_end_without_a_reason(model: FakeModel, say: Any) -> None:
    model.answer = lambda: iter([*BEGUN["chat"], b"data: [DONE]\n\n"])
    said = say("openai_worker", HELLO)
    assert (text(said), failure(said).retryable) == ("so far", True)


@pytest.mark.frameworks
@pytest.mark.parametrize("end", [[], [b"data: [DONE]\n\n"]], ids=["nothing", "done"])
@pytest.mark.parametrize(
    ("worker", "library"),
    [
        ("langgraph_worker", "langgraph"),
        ("openai_agents_worker", "agents"),
        ("pydantic_ai_worker", "pydantic_ai"),
    ],
)
def test_an_agent_of_a_library_takes_no_half_answer(
    model: FakeModel, say: Any, worker: str, library: str, end: list[bytes]
) -> None:
    need(library)
    model.answer = lambda: iter([*BEGUN["chat"], *end])
    assert failure(say(worker, HELLO)).retryable

    model.answer = lambda: iter([*BEGUN["chat"], chunk({}, finish="stop"), chunk(usage=USAGE), *end])
    assert say(worker, HELLO)[-1] == protocol.Done()


def test_a_reason_is_an_end_without_done(model: FakeModel, say: Any) -> None:
    model.answer = lambda: iter([*BEGUN["chat"], chunk({}, finish="stop")])
    said = say("openai_worker", HELLO)
    assert (text(said), said[-1]) == ("so far", protocol.Done())


@each_api
def test_an_error_in_mid_stream_may_be_tried_again(model: FakeModel, say: Any, api: str) -> None:
    worker, config = WORKERS[api]
    model.answer = lambda: iter([*BEGUN[api], OVERLOADED[api]])
    said = say(worker, HELLO, **config)
    assert text(said) == "so far"
    assert failure(said) == protocol.Failed("127.0.0.1 broke off: Overloaded", retryable=True)


@each_api
def test_an_error_as_the_first_event_may_be_tried_again(model: FakeModel, say: Any, api: str) -> None:
    worker, config = WORKERS[api]
    model.answer = lambda: iter([OVERLOADED[api]])
    assert failure(say(worker, HELLO, **config)) == protocol.Failed(
        "127.0.0.1 broke off: Overloaded", retryable=True
    )


@each_api
def test_a_page_in_place_of_an_answer_may_be_tried_again(model: FakeModel, say: Any, api: str) -> None:
    worker, config = WORKERS[api]
    model.content_type, model.answer = "text/html; charset=utf-8", lambda: iter([PAGE])
    failed = failure(say(worker, HELLO, **config))
    assert failed.message == "127.0.0.1 gave no answer as a server of models does, but text/html."
    assert failed.retryable


@each_connection
def test_a_cut_in_mid_stream_may_be_tried_again(model: FakeModel, say: Any, api: str) -> None:
    worker, config = WORKERS[api]
    model.promised, model.answer = 1 << 20, lambda: iter(BEGUN[api])
    said = say(worker, HELLO, **config)
    assert text(said) == "so far"
    failed = failure(said)
    assert failed.retryable and "broke off" in failed.message


@each_api
def test_nonsense_in_mid_stream_may_be_tried_again(model: FakeModel, say: Any, api: str) -> None:
    worker, config = WORKERS[api]
    nonsense = b"event: content_block_delta\ndata: {half\n\n"
    model.answer = lambda: iter([*BEGUN[api], nonsense])
    said = say(worker, HELLO, **config)
    assert text(said) == "so far"
    failed = failure(said)
    assert failed.retryable and "broke off" in failed.message


@each_api
def test_a_server_that_is_away_may_be_tried_again(settings: Settings, api: str) -> None:
    worker, config = WORKERS[api]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        environ = environ_of(f"http://127.0.0.1:{closed.getsockname()[1]}")
        with closing(Children(settings, environ)) as children:
            failed = said_by(children, worker, HELLO, **config)[-1]
    assert isinstance(failed, protocol.Failed)
    assert failed.retryable and "could not be reached" in failed.message
