"""Workers that are web services, against a real one on this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from email.utils import formatdate

import pytest

from runtime.child import Child, Children, http_answer, protocol, signing
from runtime.registry import Worker, WorkerType, discover
from runtime.registry.manifest import HttpRules
from runtime.settings import CHECKOUT, Settings
from tests.support.worker_service import WorkerService

RULES = HttpRules()
ENVIRON = {"BRANCHLINE_RUN_TOKEN": "t0ken", "BRANCHLINE_API_URL": "http://127.0.0.1:8000"}


def worker(url: str, rules: HttpRules = RULES) -> Worker:
    echo = discover([CHECKOUT / "workers"]).get("echo")
    return replace(echo, id="remote", type=WorkerType.HTTP, entrypoint=None, url=url, http=rules)


def start(children: Children, url: str, rules: HttpRules = RULES) -> Child:
    child = children.start(worker(url, rules), run_id="r1", environ=ENVIRON)
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
    assert child.wait(20) == 0
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

    *deltas, failed = read_all(start(children, service.url))

    assert "".join(delta.text for delta in deltas) == "ab"
    assert "ended its answer without `done`" in failed.message


def test_events_may_begin_with_a_byte_order_mark_and_end_without_a_break(
    children: Children, service: WorkerService
) -> None:
    service.type = "text/event-stream"
    service.answer = lambda *_: iter(
        [b'\xef\xbb\xbfdata: {"type":"delta","text":"a"}\n\ndata: {"type":"done"}']
    )

    assert read_all(start(children, service.url)) == [protocol.Delta(None, "a"), protocol.Done()]


@pytest.mark.parametrize(("status", "retryable"), [(400, False), (500, False), (503, True), (429, True)])
def test_a_refused_request_fails_the_run_with_the_services_text(
    children: Children, service: WorkerService, status: int, retryable: bool
) -> None:
    service.status, service.answer = status, lambda *_: iter([b"not today"])

    [failed] = read_all(start(children, service.url))

    assert isinstance(failed, protocol.Failed)
    assert f"answered {status} (application/x-ndjson): not today" in failed.message
    assert failed.retryable is retryable


@pytest.mark.parametrize(
    ("status", "type", "body", "told"),
    [
        (
            200,
            "text/html",
            b"<h1>Sign\nin</h1>" + b"x" * 500,
            "200 (text/html): <h1>Sign in</h1>" + "x" * 184 + " ",
        ),
        (200, "application/json", b'{"text":"Hi"}', '200 (application/json): {"text":"Hi"} '),
        (201, "text/plain", b"", "201 (text/plain): nothing "),
        (302, "text/html", b"Found", "302 (text/html): Found"),
    ],
)
def test_an_answer_that_is_no_stream_is_an_error_that_shows_it(
    children: Children, service: WorkerService, status: int, type: str, body: bytes, told: str
) -> None:
    service.status, service.type, service.answer = status, type, lambda *_: iter([body])

    [failed] = read_all(start(children, service.url))

    assert f"answered {told}" in failed.message + " "
    assert not failed.retryable


@pytest.mark.parametrize(
    "parts",
    [
        [b""],
        [b'{"type":"delta","text":"x"}\n'],
        [b'{"type":"done"}\n', b'{"type":"delta","text":"x"}\n'],
        [b'{"type":"do'],
    ],
)
def test_an_answer_that_ends_without_its_end_is_an_error(
    children: Children, service: WorkerService, parts: list[bytes]
) -> None:
    service.answer = lambda *_: iter(parts)

    failed = read_all(start(children, service.url))[-1]

    assert isinstance(failed, protocol.Failed)
    assert "ended its answer without `done`" in failed.message


@pytest.mark.parametrize(
    "parts",
    [
        [b'{"type":"done"}'],
        [b'{"type":"delta","text":"x"}\n{"type":', b'"done"}\n\n'],
        [b'{"type":"done"}', b"\n", b"\r\n"],
        [b'{"type":"error","message":"no"}\n'],
        [b'{"type":"confirm","id":"1","prompt":"Go?"}\n'],
    ],
)
def test_an_answer_that_has_its_end_is_left_as_it_is(
    children: Children, service: WorkerService, parts: list[bytes]
) -> None:
    service.answer = lambda *_: iter(parts)

    assert not any("ended its answer" in str(event) for event in read_all(start(children, service.url)))


@pytest.mark.parametrize(
    ("status", "value", "least", "most"),
    [
        (429, "7", 7, 7),
        (503, "86400", 3600, 3600),
        (503, "9" * 400, 3600, 3600),
        (503, formatdate(time.time() + 3600, usegmt=True), 1, 3600),
        (429, "soon", None, None),
        (502, "7", None, None),
    ],
    ids=["seconds", "a day", "for ever", "a date", "nonsense", "of another status"],
)
def test_a_service_says_when_to_try_again(
    children: Children, service: WorkerService, status: int, value: str, least: float, most: float
) -> None:
    service.status, service.headers = status, {"Retry-After": value}

    [failed] = read_all(start(children, service.url))

    assert failed.retryable
    assert failed.retry_after == least or least <= failed.retry_after <= most


def test_a_service_that_falls_silent_is_given_up(children: Children, service: WorkerService) -> None:
    silence = threading.Event()

    def answer(*_: object) -> Iterator[bytes]:
        yield b'{"type":"delta","text":"x"}\n'
        silence.wait(30)

    service.answer = answer
    delta, failed = read_all(start(children, service.url, HttpRules(idle_timeout=1)))
    silence.set()

    assert delta == protocol.Delta(None, "x")
    assert "sent nothing for 1 seconds" in failed.message


def test_a_service_that_accepts_the_run_goes_on_without_a_response(
    children: Children, service: WorkerService
) -> None:
    service.status = 202
    child = start(children, service.url)
    assert child.wait(20) == 0
    reader = threading.Thread(target=child.read, daemon=True)
    reader.start()
    reader.join(0.2)
    assert reader.is_alive()

    child.stop(0)

    reader.join(20)
    assert not reader.is_alive()


@pytest.mark.parametrize("secret", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "plain words"])
def test_a_request_is_signed_by_a_secret_of_the_pool(
    settings: Settings, service: WorkerService, secret: str
) -> None:
    with closing(Children(settings, {"SECRET": secret})) as children:
        read_all(start(children, service.url, HttpRules(secret="SECRET")))

    [(headers, _)] = service.requests
    expected = signing.signature(
        secret, service.bodies[0], id=headers["webhook-id"], moment=float(headers["webhook-timestamp"])
    )
    assert headers["webhook-signature"] == expected["webhook-signature"]


def test_a_signature_is_that_of_standard_webhooks() -> None:
    """The example of their specification."""
    signed = signing.signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        b'{"test": 2432232314}',
        id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        moment=1614265330,
    )

    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


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

    assert child.wait(20) == 0
    assert service.disconnected.wait(20)


def test_an_answer_that_cannot_be_read_fails_the_run_whatever_the_reason(
    children: Children,
    service: WorkerService,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> Iterator[bytes]:
        raise ValueError("nobody expected this")

    service.type = "text/event-stream"
    monkeypatch.setattr(http_answer, "lines_of", fail)

    [failed] = read_all(start(children, service.url))

    assert isinstance(failed, protocol.Failed)
    assert (failed.retryable, "nobody" in failed.message) == (False, False)
    assert "nobody expected this" in caplog.text
