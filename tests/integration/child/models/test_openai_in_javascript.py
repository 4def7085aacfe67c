"""serve() of the package for JavaScript, with the official library of OpenAI and a server of models."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.child import Children, protocol
from runtime.registry import Worker, load
from tests.support.fake_model import HELLO, WITHIN, FakeModel, chunk, event, said_by, text
from tests.support.node_sdk import install, needs_node

pytestmark = [needs_node, pytest.mark.frameworks]

LIBRARY = "openai@6"
SOURCE = """
import OpenAI from "openai";
import { serve } from "branchline";

const agents = {
  chat: (run, client) => client.chat.completions.create(
    { model: "m", messages: run.asOpenAI(), stream: true, stream_options: { include_usage: true } },
    { signal: run.signal },
  ),
  helper: (run, client) => client.chat.completions.stream({ model: "m", messages: run.asOpenAI() }),
  responses: (run, client) =>
    client.responses.create({ model: "m", input: run.asOpenAI("responses"), stream: true }),
};
export default serve((run) => {
  const { api, base_url: baseURL } = run.config;
  return agents[api](run, new OpenAI({ maxRetries: 0, ...(baseURL && { baseURL }) }));
});
"""
MANIFEST = """
id = "served"
name = "Served"
type = "node"
entrypoint_path = "served.js"
config_schema_path = "config.json"
env = ["OPENAI_API_KEY", "OPENAI_BASE_URL"]
"""
FIELDS = {"api": {"type": "string", "default": "chat"}, "base_url": {"type": "string"}}
DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
BEGUN = [chunk({"role": "assistant", "content": "so "}), chunk({"content": "far"})]


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Worker:
    folder = tmp_path_factory.mktemp("served")
    install(folder, LIBRARY)
    (folder / "served.js").write_text(SOURCE)
    (folder / "worker.toml").write_text(MANIFEST)
    (folder / "config.json").write_text(json.dumps({"type": "object", "properties": FIELDS}))
    return load(folder)


def failure(said: list[protocol.WorkerEvent]) -> protocol.Failed:
    assert isinstance(said[-1], protocol.Failed), said
    return said[-1]


def used(said: list[protocol.WorkerEvent]) -> dict[str, Any]:
    return [one for one in said if isinstance(one, protocol.Usage)][-1].data


def shown(said: list[protocol.WorkerEvent]) -> list[tuple[str, str, str]]:
    """Type, channel and text of the messages."""
    return [(one.type, one.channel, text(said, one.ref)) for one in said if isinstance(one, protocol.Start)]


@pytest.mark.parametrize("api", ["chat", "helper"])
def test_a_chat_completion_is_shown_with_what_it_thinks_calls_and_uses(
    children: Children, model: FakeModel, worker: Worker, api: str
) -> None:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a"'}}
    model.answer = lambda: iter(
        [
            chunk({"role": "assistant", "reasoning_content": "Hm."}),
            chunk({"content": "Let me "}),
            chunk({"content": "see."}),
            chunk({"tool_calls": [call]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}),
            chunk({}, finish="tool_calls"),
            chunk(usage=USAGE),
            DONE,
        ]
    )

    said = said_by(children, worker, HELLO, api=api)

    assert said[-1] == protocol.Done(), said[-1]
    assert shown(said) == [
        ("text", "reasoning", "Hm."),
        ("text", "answer", "Let me see."),
        ("function", "answer", '{"a":1}'),
    ]
    assert used(said) == {"input_tokens": 7, "output_tokens": 2}
    assert model.requests[0]["messages"] == [{"role": "user", "content": "Hello"}]
    assert model.headers[0]["authorization"] == "Bearer sk-test"


def test_the_events_of_the_responses_api_are_shown(
    children: Children, model: FakeModel, worker: Worker
) -> None:
    item = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "add", "arguments": ""}
    usage = {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9}
    model.answer = lambda: iter(
        [
            event("response.created", response={"id": "r1"}),
            event("response.output_text.delta", item_id="m1", output_index=0, delta="Let me "),
            event("response.output_text.delta", item_id="m1", output_index=0, delta="see."),
            event("response.output_item.done", item={"id": "m1", "type": "message"}, output_index=0),
            event("response.output_item.added", item=item, output_index=1),
            event("response.function_call_arguments.delta", item_id="f1", output_index=1, delta='{"a":1}'),
            event("response.output_item.done", item={**item, "arguments": '{"a":1}'}, output_index=1),
            event("response.completed", response={"id": "r1", "usage": usage}),
        ]
    )

    said = said_by(children, worker, HELLO, api="responses")

    assert said[-1] == protocol.Done(), said[-1]
    assert shown(said) == [("text", "answer", "Let me see."), ("function", "answer", '{"a":1}')]
    assert used(said) == {"input_tokens": 7, "output_tokens": 2}


@pytest.mark.parametrize("api", ["chat", "helper", "responses"])
@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (401, "", False),
        (400, "", False),
        (429, "", True),
        (429, "insufficient_quota", False),
        (503, "", True),
    ],
)
def test_a_status_says_whether_to_try_again(
    children: Children, model: FakeModel, worker: Worker, api: str, status: int, code: str, retryable: bool
) -> None:
    model.fails(status, message="Because.", code=code)
    failed = failure(said_by(children, worker, HELLO, api=api))
    assert (failed.retryable, "Because." in failed.message) == (retryable, True)


@pytest.mark.parametrize("api", ["chat", "helper"])
def test_a_cut_in_mid_stream_is_tried_again_and_keeps_the_part(
    children: Children, model: FakeModel, worker: Worker, api: str
) -> None:
    model.promised, model.answer = 1 << 20, lambda: iter(BEGUN)
    said = said_by(children, worker, HELLO, api=api)
    assert failure(said).retryable, failure(said)
    assert "broke off" in failure(said).message
    assert [message[2] for message in shown(said)] == ["so far"]


@pytest.mark.parametrize("api", ["chat", "helper"])
@pytest.mark.parametrize(("type", "retryable"), [("server_error", True), ("invalid_request_error", False)])
def test_an_error_in_mid_stream_says_whether_to_try_again(
    children: Children, model: FakeModel, worker: Worker, api: str, type: str, retryable: bool
) -> None:
    error = {"error": {"message": "Overloaded", "type": type}}
    model.answer = lambda: iter([*BEGUN, b"data: " + json.dumps(error).encode() + b"\n\n"])
    said = said_by(children, worker, HELLO, api=api)
    assert (failure(said).retryable, "Overloaded" in failure(said).message) == (retryable, True)
    assert [message[2] for message in shown(said)] == ["so far"]


@pytest.mark.parametrize("api", ["chat", "helper", "responses"])
def test_a_server_that_is_away_is_tried_again(children: Children, worker: Worker, api: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        failed = failure(said_by(children, worker, HELLO, api=api, base_url=url))
    assert failed.retryable
    assert "could not be reached" in failed.message


def test_a_cancelled_run_hangs_up(children: Children, model: FakeModel, worker: Worker) -> None:
    def without_end() -> Iterator[bytes]:
        while True:
            yield chunk({"content": "x"})

    model.answer = without_end
    child = children.start(worker, run_id="r", environ={})
    child.send(json.dumps({"type": "run", "run": {"id": "r"}, "config": {"api": "chat"}}).encode() + b"\n")
    assert child.read()
    child.send(b'{"type":"cancel"}\n')
    while child.read():
        pass
    child.wait(WITHIN)
    child.close()
    assert model.hung_up.wait(WITHIN)
