"""A server of models on this machine, and what a worker says that asks it."""

from __future__ import annotations

import json
import os
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from runtime.child import Children, protocol
from runtime.registry import Worker, discover
from runtime.settings import CHECKOUT

REGISTRY = discover([CHECKOUT / "workers"])
WITHIN = 30.0
_REFUSAL = b'{"error": {"message": "That is not supported.", "type": "invalid_request_error"}}'


class FakeModel:
    """An HTTP server that answers every request with what ``answer`` yields, and notes requests."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.reset()
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                model.requests.append(request)
                model.headers.append({name.lower(): value for name, value in self.headers.items()})
                refused = model.refuses(request)
                status = 400 if refused else model.status
                self.send_response(status)
                kind = model.content_type if status == 200 else "application/json"
                self.send_header("Content-Type", kind)
                if model.promised:
                    self.send_header("Content-Length", str(model.promised))
                self.end_headers()
                try:
                    for part in [model.refusal] if refused else model.reply(request):
                        self.wfile.write(part)
                        self.wfile.flush()
                except OSError:
                    model.hung_up.set()

            def do_GET(self) -> None:
                self.send_response(200)
                content = model.files.get(self.path.rpartition("/")[2])
                if content is not None:
                    self.end_headers()
                    self.wfile.write(content)
                    return
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                models = [
                    {
                        "id": id,
                        "object": "model",
                        "type": "model",
                        "created": 1,
                        "display_name": id,
                        "owned_by": model.owner,
                    }
                    for id in model.models
                ]
                listed = json.dumps({"object": "list", "data": models, "has_more": False}).encode()
                self.wfile.write(model.models_page or listed)

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
        self.content_type = "text/event-stream"
        """Of what it answers with status 200."""
        self.promised = 0
        """How many bytes an answer says that it has; fewer look as if the connection were cut."""
        self.answer: Callable[[], Iterator[Any]] = lambda: iter(())
        self.reply: Callable[[dict[str, Any]], Iterator[Any]] = lambda _: self.answer()
        """By request, where several may be under way."""
        self.refuses: Callable[[dict[str, Any]], bool] = lambda _: False
        """Which requests are answered with status 400."""
        self.refusal = _REFUSAL
        self.hung_up = threading.Event()
        self.owner = "system"
        """Whose models these are, by the list of them."""
        self.files: dict[str, bytes] = {}
        """By id: it answers in place of the Worker API, too."""
        self.models = ["m"]
        self.models_page = b""
        """What is answered in place of the list."""

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


def said_by(
    children: Children,
    worker: str | Worker,
    *messages: dict[str, Any],
    lost: dict[str, Any] | None = None,
    worker_api: str = "http://127.0.0.1:9",
    inbox: Sequence[dict[str, Any]] = (),
    **config: Any,
) -> list[protocol.WorkerEvent]:
    worker = REGISTRY.get(worker) if isinstance(worker, str) else worker
    environ = {"BRANCHLINE_RUN_TOKEN": "token", "BRANCHLINE_API_URL": worker_api}
    child = children.start(worker, run_id="r", environ=environ)
    line = {
        "type": "run",
        "run": {"id": "r"},
        "config": worker.check_config(config),
        "messages": messages,
        **({"continued": True, **lost} if lost else {}),
    }
    child.send(json.dumps(line).encode())
    decoder, said, sent = protocol.Decoder(), [], list(inbox)
    while chunk := child.read():
        for one in decoder.feed(chunk):
            said.append(one)
            if isinstance(one, protocol.Save):
                child.send(json.dumps({"type": "saved", "key": one.key}).encode() + b"\n")
            elif isinstance(one, protocol.ReadInbox):
                message = sent.pop(0) if sent else None
                child.send(json.dumps({"type": "message", "id": None, "message": message}).encode() + b"\n")
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
