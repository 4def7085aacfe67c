"""The workers for language models, against servers on this machine that speak their APIs."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from runtime import settings as settings_module
from runtime.child import Children, protocol
from runtime.model import Channel
from runtime.registry import discover
from runtime.settings import CHECKOUT, Settings

REGISTRY = discover([CHECKOUT / "workers"])
WITHIN = 30.0

Say = Callable[..., list[protocol.WorkerEvent]]


class FakeModel:
    """An HTTP server that answers every request with what ``answer`` yields, and notes requests."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.reset()
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                model.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                model.headers.append({name.lower(): value for name, value in self.headers.items()})
                self.send_response(model.status)
                kind = "text/event-stream" if model.status == 200 else "application/json"
                self.send_header("Content-Type", kind)
                self.end_headers()
                try:
                    for part in model.answer():
                        self.wfile.write(part)
                        self.wfile.flush()
                except OSError:
                    model.hung_up.set()

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                models = [{"id": "m", "object": "model", "created": 1, "owned_by": model.owner}]
                self.wfile.write(json.dumps({"object": "list", "data": models}).encode())

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def reset(self) -> None:
        """Know nothing of what has been."""
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.answer: Callable[[], Iterator[Any]] = lambda: iter(())
        self.hung_up = threading.Event()
        self.owner = "system"
        """Whose models these are, by the list of them."""

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fails(self, status: int, **error: Any) -> None:
        self.status = status
        self.answer = lambda: iter([json.dumps({"type": "error", "error": error}).encode()])


def environ_of(url: str, **more: str) -> dict[str, str]:
    """That of a pool whose models are at that address."""
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ},
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_OTHER_BASE_URLS": f"http://other.invalid {url}/other/v1",
        "ANTHROPIC_API_KEY": "sk-ant-test",
        "ANTHROPIC_BASE_URL": url,
        **more,
    }


@pytest.fixture(scope="module")
def server() -> Iterator[FakeModel]:
    model = FakeModel()
    yield model
    model.close()


@pytest.fixture
def model(server: FakeModel) -> FakeModel:
    server.reset()
    return server


@pytest.fixture(scope="module")
def children(server: FakeModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    """Shared, for each host imports the library of a model's maker, which takes long."""
    settings = settings_module.load({"BRANCHLINE_HOME": str(tmp_path_factory.mktemp("home"))})
    with closing(Children(settings, environ_of(server.url))) as children:
        yield children


@pytest.fixture
def say(children: Children) -> Say:
    """Run a worker on messages, and on what a ``lost`` attempt has left; all that it says."""
    return partial(said_by, children)


def said_by(
    children: Children,
    worker_id: str,
    *messages: dict[str, Any],
    lost: dict[str, Any] | None = None,
    **config: Any,
) -> list[protocol.WorkerEvent]:
    worker = REGISTRY.get(worker_id)
    child = children.start(worker, run_id="r", environ={})
    line = {
        "type": "run",
        "run": {"id": "r"},
        "config": worker.check_config(config),
        "messages": messages,
        **({"continued": True, **lost} if lost else {}),
    }
    child.send(json.dumps(line).encode())
    decoder, said = protocol.Decoder(), []
    while chunk := child.read():
        said += decoder.feed(chunk)
    said += decoder.end()
    assert child.wait(WITHIN) in (0, 1)
    child.close()
    return said


HELLO = {"role": "user", "type": "text", "content": "Hello"}


def text(said: list[protocol.WorkerEvent], ref: str | None = None) -> str:
    return "".join(one.text for one in said if isinstance(one, protocol.Delta) and one.ref == ref)


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, usage: Any = None) -> bytes:
    """One event of a chat completion."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    data = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": choices,
        "usage": usage,
    }
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def event(type: str, **more: Any) -> bytes:
    """One event of Anthropic's messages."""
    return f"event: {type}\ndata: {json.dumps({'type': type, **more})}\n\n".encode()


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
    return [*(chunk({"content": piece}) for piece in pieces), b"data: [DONE]\n\n"]


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

    model.answer = lambda: iter(of_anthropic("\n", "a time"))
    said = say("anthropic_worker", HELLO, lost={"earlier": [THOUGHT], "open": [SAID]}, thinking=True)
    assert text(said) == "\na time"
    assert "thinking" not in model.requests[1]


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
    model.answer = lambda: iter([chunk({"content": "ok"}), b"data: [DONE]\n\n"])

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
    model.answer = lambda: iter([chunk({"content": "secret"}), b"data: [DONE]\n\n"])

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


def test_an_answer_that_breaks_off_may_be_tried_again(model: FakeModel, say: Any) -> None:
    broken = b'data: {"error": {"message": "the GPU is gone"}}\n\n'
    model.answer = lambda: iter([chunk({"content": "so far"}), broken])
    said = say("openai_worker", HELLO)
    assert text(said) == "so far"
    assert said[-1] == protocol.Failed("127.0.0.1 broke off: the GPU is gone", retryable=True)


def test_nothing_to_answer_is_told(say: Any) -> None:
    assert say("openai_worker")[-1] == protocol.Failed("There is no message to answer.", retryable=False)
    assert say("anthropic_worker")[-1] == protocol.Failed("There is no message to answer.", retryable=False)


def test_a_server_that_is_away_may_be_tried_again(settings: Settings) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        environ = environ_of(f"http://127.0.0.1:{closed.getsockname()[1]}")
        with closing(Children(settings, environ)) as children:
            failed = said_by(children, "openai_worker", HELLO)[-1]
    assert isinstance(failed, protocol.Failed)
    assert failed.retryable and "could not be reached" in failed.message


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
    assert b'"so"' in child.read()
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
        (404, "no model", False),
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
