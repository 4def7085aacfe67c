"""Workers that are web services, against a real one on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from runtime.child import Children, RemoteChild, protocol
from runtime.registry import Worker, WorkerType, discover
from runtime.settings import Settings
from testbed.stack import CHECKOUT

ENVIRON = {"BRANCHLINE_RUN_TOKEN": "t0ken", "BRANCHLINE_API_URL": "http://127.0.0.1:8000"}


class Service:
    """A web service that answers as its test says."""

    def __init__(self) -> None:
        self.status = 200
        self.type = "application/x-ndjson"
        self.answer: Callable[[], Iterator[bytes]] = lambda: iter(())
        self.asked: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.hung_up = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.asked.append((dict(self.headers.items()), body))
                self.send_response(service.status)
                self.send_header("Content-Type", service.type)
                self.end_headers()
                try:
                    for part in service.answer():
                        self.wfile.write(part)
                        self.wfile.flush()
                except OSError:
                    service.hung_up.set()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/run"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.close()


@pytest.fixture
def children(settings: Settings) -> Iterator[Children]:
    children = Children(settings)
    yield children
    children.close()


def worker(url: str) -> Worker:
    echo = discover([CHECKOUT / "workers"]).get("echo")
    return replace(echo, id="remote", type=WorkerType.HTTP, entrypoint=None, url=url)


def start(children: Children, url: str) -> RemoteChild:
    child = children.start(worker(url), run_id="r1", environ=ENVIRON)
    assert isinstance(child, RemoteChild)
    child.send(b'{"type":"run","config":{}}')
    return child


def said(child: RemoteChild) -> list[protocol.WorkerEvent]:
    decoder = protocol.Decoder()
    found: list[protocol.WorkerEvent] = []
    while chunk := child.read():
        found += decoder.feed(chunk)
    return [*found, *decoder.end()]


def test_the_run_is_posted_and_the_answer_read_as_lines(children: Children, service: Service) -> None:
    service.answer = lambda: iter([b'{"type":"delta","te', b'xt":"Hi"}\n{"type":"done"}\n'])
    child = start(children, service.url)

    assert said(child) == [protocol.Delta(None, "Hi"), protocol.Done()]
    assert child.wait(5) == 0
    [(headers, body)] = service.asked
    assert (headers["Authorization"], headers["X-Branchline-Run-Id"]) == ("Bearer t0ken", "r1")
    assert body["type"] == "run"


def test_server_sent_events_are_read_as_well(children: Children, service: Service) -> None:
    service.type = "text/event-stream; charset=utf-8"
    service.answer = lambda: iter(
        [
            b'id: 1\ndata: {"type":"delta","text":"a"}\n\n: hb\n\n',
            b'data:{"type":"delta",',
            b'"text":"b"}\n\n',
        ]
    )

    assert "".join(one.text for one in said(start(children, service.url))) == "ab"


@pytest.mark.parametrize(("status", "retryable"), [(400, False), (500, False), (503, True), (429, True)])
def test_a_refusal_fails_the_run_in_words(
    children: Children, service: Service, status: int, retryable: bool
) -> None:
    service.status, service.answer = status, lambda: iter([b"not today"])

    [failed] = said(start(children, service.url))

    assert isinstance(failed, protocol.Failed)
    assert f"answered {status}: not today" in failed.message
    assert failed.retryable is retryable


def test_a_service_that_is_not_there_may_be_tried_again(children: Children) -> None:
    [failed] = said(start(children, "http://127.0.0.1:1/run"))

    assert isinstance(failed, protocol.Failed)
    assert "could not be reached" in failed.message
    assert failed.retryable


def test_stopping_ends_the_connection(children: Children, service: Service) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b'{"type":"delta","text":"again "}\n'

    service.answer = endless
    child = start(children, service.url)
    assert child.read()

    child.send(b'{"type":"cancel"}')

    assert child.wait(10) == 0
    assert service.hung_up.wait(10)
