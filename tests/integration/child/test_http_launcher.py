"""Workers that are web services, against a real one on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from runtime.child import Child, Children, http_child, protocol
from runtime.registry import Worker, WorkerType, discover
from runtime.settings import CHECKOUT
from tests.support.worker_service import WorkerService

ENVIRON = {"BRANCHLINE_RUN_TOKEN": "t0ken", "BRANCHLINE_API_URL": "http://127.0.0.1:8000"}


def worker(url: str) -> Worker:
    echo = discover([CHECKOUT / "workers"]).get("echo")
    return replace(echo, id="remote", type=WorkerType.HTTP, entrypoint=None, url=url)


def start(children: Children, url: str) -> Child:
    child = children.start(worker(url), run_id="r1", environ=ENVIRON)
    child.send(b'{"type":"run","config":{}}')
    return child


def read_all(child: Child) -> list[protocol.WorkerEvent]:
    decoder = protocol.Decoder()
    events: list[protocol.WorkerEvent] = []
    while chunk := child.read():
        events += decoder.feed(chunk)
    return [*events, *decoder.end()]


def test_a_run_is_posted_and_its_response_read_as_lines(children: Children, service: WorkerService) -> None:
    service.answer = lambda *_: iter([b'{"type":"delta","te', b'xt":"Hi"}\n{"type":"done"}\n'])
    child = start(children, service.url)

    assert read_all(child) == [protocol.Delta(None, "Hi"), protocol.Done()]
    assert child.wait(5) == 0
    [(headers, body)] = service.requests
    assert (headers["Authorization"], headers["X-Branchline-Run-Id"]) == ("Bearer t0ken", "r1")
    assert body["type"] == "run"


def test_a_response_may_be_server_sent_events(children: Children, service: WorkerService) -> None:
    service.type = "text/event-stream; charset=utf-8"
    service.answer = lambda *_: iter(
        [
            b'id: 1\ndata: {"type":"delta","text":"a"}\n\n: hb\n\n',
            b'data:{"type":"delta",',
            b'"text":"b"}\n\n',
        ]
    )

    assert "".join(event.text for event in read_all(start(children, service.url))) == "ab"


@pytest.mark.parametrize(("status", "retryable"), [(400, False), (500, False), (503, True), (429, True)])
def test_a_refused_request_fails_the_run_with_the_services_text(
    children: Children, service: WorkerService, status: int, retryable: bool
) -> None:
    service.status, service.answer = status, lambda *_: iter([b"not today"])

    [failed] = read_all(start(children, service.url))

    assert isinstance(failed, protocol.Failed)
    assert f"answered {status}: not today" in failed.message
    assert failed.retryable is retryable


def test_an_unreachable_service_is_a_retryable_failure(children: Children) -> None:
    [failed] = read_all(start(children, "http://127.0.0.1:1/run"))

    assert isinstance(failed, protocol.Failed)
    assert "could not be reached" in failed.message
    assert failed.retryable


def test_the_connection_closes_when_the_run_is_cancelled(children: Children, service: WorkerService) -> None:
    def endless(*_: object) -> Iterator[bytes]:
        while True:
            yield b'{"type":"delta","text":"again "}\n'

    service.answer = endless
    child = start(children, service.url)
    assert child.read()

    child.send(b'{"type":"cancel"}')

    assert child.wait(10) == 0
    assert service.disconnected.wait(10)


def test_an_answer_that_cannot_be_read_fails_the_run_whatever_the_reason(
    children: Children,
    service: WorkerService,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> Iterator[bytes]:
        raise ValueError("nobody expected this")

    service.type = "text/event-stream"
    monkeypatch.setattr(http_child, "_lines_of_events", fail)

    [failed] = read_all(start(children, service.url))

    assert isinstance(failed, protocol.Failed)
    assert (failed.retryable, "nobody" in failed.message) == (False, False)
    assert "nobody expected this" in caplog.text
