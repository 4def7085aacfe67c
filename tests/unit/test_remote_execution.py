"""What a machine elsewhere sends: each line counts once, whichever answers are lost on the way."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from runtime.sdk.remote import Exit, Lost, execution
from runtime.sdk.remote.api import Intercepted, Refused, Unreachable
from runtime.sdk.remote.connections import Connections

LEASE = 2.4
RUN: dict[str, Any] = {"worker_id": "w", "timeout_seconds": 60}
CLAIM: dict[str, Any] = {"run_id": "r", "token": "t", "lease": LEASE}


class Server:
    """The server, as far as a machine sees it."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.seen = 0
        self.answers_lost = threading.Event()
        """Set once the answers to two signs of life were lost."""
        self.ended = threading.Event()
        self.url = "http://server/worker/runs/r"
        self.is_alive = threading.Event()
        """Set by a sign of life."""
        self._losses = 2
        self.news: dict[str, Any] = {"type": "called"}
        self.below: list[tuple[str, dict[str, Any]]] = []
        """The events of the sub-run."""

    def post_lines(self, path: str, lines: list[bytes], timeout: float) -> None:
        """As ``inbox_push.lua``: numbered lines that have come before are skipped."""
        events = [json.loads(line) for line in lines]
        if any(event["type"] == "alive" for event in events):
            self.is_alive.set()
        if any(event.get("text") == "slow" for event in events):
            assert self.is_alive.wait(10)
        if any(event.get("text") == "too long" for event in events):
            raise Refused(413, "A line is too long.")
        if any(event.get("text") == "forbidden" for event in events):
            raise Intercepted("something in between answered 401")
        first = parse_qs(urlsplit(path).query).get("first")
        if first is not None:
            events = events[max(0, self.seen + 1 - int(first[0])) :]
            self.seen += len(events)
        self.lines += events
        if lines == [b'{"type":"alive"}'] and self._losses:
            self._losses -= 1
            if not self._losses:
                self.answers_lost.set()
            raise Unreachable("the answer is lost")

    def post(self, path: str, line: dict[str, Any], timeout: float) -> dict[str, Any]:
        """A call is accepted."""
        return {"type": "called", "id": line["id"], "run_id": "s"}

    def get(self, path: str, timeout: float) -> dict[str, Any]:
        """What has become of a sub-run."""
        return dict(self.news)

    def events(self, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """No command comes; the events of a sub-run do."""
        if path == "/commands":
            self.ended.wait(10)
        else:
            yield from self.below

    def said(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["type"] != "alive"]


class Worker:
    """Says ``output``, a piece whenever it is read."""

    def __init__(self, output: Iterator[bytes]) -> None:
        self._output = output
        self.told: list[dict[str, Any]] = []
        self.was_told = threading.Event()
        self.ended: Exit | None = None

    def read(self) -> bytes:
        return next(self._output, b"")

    def read_log(self) -> bytes:
        return b""

    def send(self, line: bytes) -> None:
        self.told.append(json.loads(line))
        if self.told[-1]["type"] in ("result", "timeout", "delta"):
            self.was_told.set()

    def exit(self, timeout: float) -> Exit | None:
        return self.ended

    def show_stack(self) -> None:
        pass

    def stop(self, grace: float) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    monkeypatch.setattr(execution, "Api", lambda *_: server)
    yield server
    server.ended.set()


def execute(worker: Worker, **of_run: Any) -> None:
    claim = {**CLAIM, "line": json.dumps({"run": {**RUN, **of_run}})}
    execution.Execution(Connections("http://server"), claim, lambda *_: worker).run()


def test_no_line_is_taken_for_a_sign_of_life_whose_answer_was_lost(server: Server) -> None:
    def output() -> Iterator[bytes]:
        yield b'{"type":"delta","text":"one"}\n'
        assert server.answers_lost.wait(10)
        yield b'{"type":"delta","text":"two"}\n{"type":"delta","text":"three"}\n{"type":"done"}\n'

    execute(Worker(output()))

    assert [line.get("text") for line in server.said()] == ["one", "two", "three", None]


def test_what_the_server_refuses_fails_the_run(server: Server) -> None:
    execute(Worker(iter([b'{"type":"delta","text":"too long"}\n'])))

    [error] = server.said()
    assert error["type"] == "error"
    assert "A line is too long." in error["message"]


def test_what_a_firewall_never_lets_through_fails_the_run(server: Server) -> None:
    execute(Worker(iter([b'{"type":"delta","text":"forbidden"}\n'])))

    assert server.is_alive.is_set()
    [error] = server.said()
    assert error["type"] == "error"
    assert "something in between answered 401" in error["message"]


@pytest.mark.parametrize(
    "request_of",
    [
        pytest.param("beat", id="sign-of-life"),
        pytest.param("events", id="commands"),
        pytest.param("get", id="end-of-a-sub-run"),
    ],
)
def test_another_request_that_is_refused_ends_the_attempt_and_does_not_fail_the_run(
    server: Server, monkeypatch: pytest.MonkeyPatch, request_of: str
) -> None:
    """Such as one that a proxy answers, or whose run is not there any more."""
    stopped = threading.Event()

    def output() -> Iterator[bytes]:
        yield b'{"type":"call","id":"a","worker_id":"w"}\n'
        assert stopped.wait(10)

    def refuse(*_: Any) -> Any:
        raise Refused(404, "There is no such page.")

    post_lines = server.post_lines

    def refuse_beat(path: str, lines: list[bytes], timeout: float) -> None:
        if lines == [b'{"type":"alive"}']:
            refuse()
        post_lines(path, lines, timeout)

    if request_of == "beat":
        monkeypatch.setattr(server, "post_lines", refuse_beat)
    else:
        monkeypatch.setattr(server, request_of, refuse)
    worker = Worker(output())
    monkeypatch.setattr(worker, "stop", lambda grace: stopped.set())

    execute(worker)

    assert server.said() == []


def test_a_line_that_is_no_json_is_of_the_log(server: Server) -> None:
    execute(Worker(iter([b'{"type":"delta","text":"x","n":NaN}\n{"type":"done"}\n'])))

    assert [line["type"] for line in server.said()] == ["log", "done"]


def test_a_worker_is_told_of_answered_questions_of_a_sub_run_before_its_result(server: Server) -> None:
    question = {"type": "question", "id": "a", "question": {"id": "1"}}
    server.news = {"type": "result", "id": "a", "status": "success", "questions": [question]}

    def output() -> Iterator[bytes]:
        yield b'{"type":"call","id":"a","worker_id":"w"}\n'
        assert worker.was_told.wait(10)
        yield b'{"type":"done"}\n'

    worker = Worker(output())
    execute(worker)

    assert [line["type"] for line in worker.told] == ["called", "question", "result"]
    assert "questions" not in worker.told[-1]


@pytest.mark.parametrize(
    ("ended", "line"),
    [
        pytest.param(None, {"type": "done"}, id="by-0"),
        pytest.param(
            Exit("It fell."), {"type": "exit", "code": "worker_crashed", "message": "It fell."}, id="crashed"
        ),
        pytest.param(
            Exit("its host has died", lost=True),
            {"type": "exit", "code": "lost", "message": "its host has died"},
            id="lost",
        ),
    ],
)
def test_how_a_worker_has_ended_that_does_not_say_so_is_said_for_it(
    server: Server, ended: Exit | None, line: dict[str, Any]
) -> None:
    worker = Worker(iter(()))
    worker.ended = ended

    execute(worker)

    assert server.said() == [line]


def test_a_worker_that_is_lost_before_it_starts_leaves_its_run_to_another(server: Server) -> None:
    def start(*_: Any) -> Any:
        raise Lost("its folder is not there")

    claim = {**CLAIM, "line": json.dumps({"run": RUN})}
    execution.Execution(Connections("http://server"), claim, start).run()

    assert server.said() == [{"type": "exit", "code": "lost", "message": "its folder is not there"}]


def test_a_worker_whose_time_is_over_is_told_so_and_did_not_crash(server: Server) -> None:
    def output() -> Iterator[bytes]:
        assert worker.was_told.wait(10)
        yield b'{"type":"delta","text":"last words"}\n'

    worker = Worker(output())
    worker.ended = Exit("The worker was killed by SIGTERM.")

    execute(worker, timeout_seconds=0.1)

    assert worker.told == [{"type": "timeout"}]
    assert [(line["type"], line.get("code")) for line in server.said()] == [
        ("delta", None),
        ("exit", "timeout"),
    ]


def test_the_answer_of_a_sub_run_is_followed_until_it_is_void(server: Server) -> None:
    message = {"id": "m", "role": "assistant", "type": "text", "channel": "answer", "content": ""}
    server.below = [
        ("message.created", {"message": message}),
        ("message.delta", {"message_id": "m", "text": "Hi"}),
        ("message.delta", {"message_id": "another", "text": "a thought"}),
        ("run.retried", {"discarded": ["m"]}),
        ("message.delta", {"message_id": "m", "text": "lost"}),
    ]

    def output() -> Iterator[bytes]:
        yield b'{"type":"call","id":"a","worker_id":"w"}\n{"type":"follow","id":"a"}\n{"type":"follow"}\n'
        assert worker.was_told.wait(10)
        yield b'{"type":"done"}\n'

    worker = Worker(output())
    execute(worker)

    assert worker.told[1:] == [{"type": "delta", "id": "a", "text": "Hi"}]
    assert server.said() == [{"type": "done"}]


def test_signs_of_life_are_given_while_a_large_line_is_on_its_way(server: Server) -> None:
    execute(Worker(iter([b'{"type":"delta","text":"slow"}\n{"type":"done"}\n'])))

    assert [line["type"] for line in server.said()] == ["delta", "done"]


def test_a_line_that_ends_no_run_is_not_taken_for_its_end(server: Server) -> None:
    execute(Worker(iter([b'{"type":"confirm"}\n'])))

    assert [line["type"] for line in server.said()] == ["confirm", "done"]


def test_a_worker_does_not_say_what_its_machine_says(server: Server) -> None:
    execute(Worker(iter([b'{"type":"exit","code":"lost"}\n{"type":"done"}\n'])))

    assert [line["type"] for line in server.said()] == ["log", "done"]


def test_a_line_without_end_fails_the_run(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "MAX_LINE", 100)
    execute(Worker(iter([b'{"type":"step","description":"x"}\n{"type":"de', b"x" * 50, b"x" * 50])))

    [step, end] = server.said()
    assert step["type"] == "step"
    assert (end["type"], end["code"]) == ("exit", "output_too_large")


def test_files_are_read_from_where_the_machine_reaches_the_server(server: Server) -> None:
    def message() -> dict[str, Any]:
        return {"content": "look", "files": [{"id": "f", "url": "http://127.0.0.1/inside"}]}

    first: list[dict[str, Any]] = []

    def output() -> Iterator[bytes]:
        yield b'{"type":"call","id":"a","worker_id":"w"}\n'
        assert worker.was_told.wait(10)
        yield b'{"type":"done"}\n'

    def start(worker_id: str, environ: Any, line: bytes) -> Worker:
        first.append(json.loads(line))
        return worker

    server.news = {"type": "result", "id": "a", "messages": [message()]}
    worker = Worker(output())
    line = json.dumps({"run": RUN, "messages": [message(), {"content": "on", "files": None}], "open": []})
    execution.Execution(Connections("http://server"), {**CLAIM, "line": line}, start).run()

    found = [first[0]["messages"][0], worker.told[-1]["messages"][0]]
    assert [one["files"][0]["url"] for one in found] == ["http://server/worker/runs/r/files/f"] * 2
