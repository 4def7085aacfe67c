"""The dialect of a service of agents: what it is asked, what it says, and how its answer ends."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from runtime.child import Children, protocol
from runtime.registry.manifest import load
from runtime.settings import CHECKOUT

WORKERS = CHECKOUT / "workers"
ENVIRON = {"BRANCHLINE_RUN_TOKEN": "t0ken", "BRANCHLINE_API_URL": "http://127.0.0.1:8000"}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
CLOSED = HEAD + b"Connection: close\r\n\r\n"
END = b"0\r\n\r\n"
CUT = "Agent service error: the answer was cut off"
Behaviour = Callable[[socket.socket], None]


class RawService:
    """Answers one request as its test says, byte for byte."""

    def __init__(self, behave: Behaviour) -> None:
        self._behave = behave
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.head, self.body = b"", b""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as request:
            lines = list(iter(request.readline, b"\r\n"))
            self.head = b"".join(lines).lower()
            length = next(int(line[15:]) for line in lines if line.lower().startswith(b"content-length:"))
            self.body = request.read(length)
            self._behave(connection)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Behaviour], RawService]]:
    made: list[RawService] = []

    def serve(behave: Behaviour) -> RawService:
        made.append(RawService(behave))
        return made[-1]

    yield serve
    for service in made:
        service.close()


def chunk(text: str) -> bytes:
    data = text.encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


def say(*said: object) -> bytes:
    return chunk("".join(f"data: {json.dumps(one)}\n\n" for one in said))


def sends(*parts: bytes) -> Behaviour:
    return lambda connection: [connection.sendall(part) for part in parts] and None


def resets(*parts: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        sends(*parts)(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return behave


def hangs(*parts: bytes) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        sends(*parts)(connection)
        connection.recv(1)  # until the pool hangs up

    return behave


def ask(children: Children, url: str, patience: float = 30.0, **run: object) -> list[protocol.WorkerEvent]:
    """What the worker of the type rag says whose service is at ``url``."""
    worker = replace(load(WORKERS / "rag_service"), url=f"{url}/agents/rag/stream")
    worker = replace(worker, http=replace(worker.http, idle_timeout=patience))
    child = children.start(worker, run_id="r1", environ=ENVIRON)
    messages = [{"role": "user", "content": "Hello"}]
    child.send(json.dumps({"type": "run", "messages": messages, "args": None, **run}).encode())
    decoder, events = protocol.Decoder(), list[protocol.WorkerEvent]()
    while part := child.read():
        events += decoder.feed(part)
    return [*events, *decoder.end()]


def outcome(events: list[protocol.WorkerEvent]) -> tuple[str, str, bool]:
    """The text, how it ended, and whether it is to be tried again."""
    text = "".join(event.text for event in events if isinstance(event, protocol.Delta))
    last = events[-1]
    if isinstance(last, protocol.Failed):
        return text, last.message, last.retryable
    assert last == protocol.Done(), last
    return text, "done", False


def test_a_service_is_asked_with_the_prompt_and_its_context(
    children: Children, serve: Callable[[Behaviour], RawService]
) -> None:
    service = serve(sends(CHUNKED, say({"content": "Hi"}), END))
    said = [
        {"role": "user", "content": "Old"},
        {"role": "assistant", "content": "Yes"},
        {"role": "user", "content": "One"},
        {"role": "user", "content": "Two"},
    ]

    assert outcome(ask(children, service.url, messages=said, args={"k": 5}))[:2] == ("Hi", "done")

    assert json.loads(service.body) == {"prompt": "One\n\nTwo", "context": {"k": 5}}
    assert service.head.startswith(b"post /agents/rag/stream http/1.1")
    assert b"authorization: bearer t0ken" in service.head and b"accept: text/event-stream" in service.head


@pytest.mark.parametrize(
    ("behave", "expected"),
    [
        (sends(CHUNKED, say({"content": "a"}, {"content": "b"}), END), ("ab", "done", False)),
        (hangs(CHUNKED, say({"content": "a"}), chunk("data: [DONE]\n\n")), ("a", "done", False)),
        (sends(CLOSED, b'data:{"content":"a"}\r\n\r\ndata: [DONE]'), ("a", "done", False)),
        (sends(HEAD + b"Content-Length: 19\r\n\r\n", b'data: {"content":"a"}'[:19]), ("", "done", False)),
        (sends(CHUNKED, chunk('data: {"con'), chunk('tent": "é 😀"}\n'), END), ("é 😀", "done", False)),
        (sends(CHUNKED, chunk(": hb\n\ndata: {}\n\ndata: 7\n\ndata: hm\n\n"), END), ("", "done", False)),
        (sends(CHUNKED, say({"content": "a"})), ("a", CUT, False)),
        (resets(CHUNKED, say({"content": "a"})), ("a", CUT, False)),
        (sends(CHUNKED), ("", CUT, True)),
        (sends(CLOSED, b'data: {"content":"a"}\n\n'), ("a", CUT, False)),
        (sends(HEAD + b"Content-Length: 99\r\n\r\n", b'data: {"content":"a"}\n\n'), ("a", CUT, False)),
        (
            sends(CHUNKED, say({"content": "a"}, {"error": "no model"}, {"content": "b"}), END),
            ("a", "Agent service error: no model", False),
        ),
        (
            sends(CHUNKED, chunk("event: error\ndata: it broke\n\n"), END),
            ("", "Agent service error: it broke", False),
        ),
        (
            sends(CHUNKED, say({"type": "error", "message": "too long"}), END),
            ("", "Agent service error: too long", False),
        ),
        (
            sends(CHUNKED, say({"error": {"message": "quota"}}), END),
            ("", "Agent service error: quota", False),
        ),
        (
            sends(b"HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy"),
            ("", "Agent service error: 503", True),
        ),
        (
            sends(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
            ("", "Agent service error: 404", False),
        ),
        (
            sends(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<h1>"),
            ("", "Agent service error: its answer is no text/event-stream", False),
        ),
    ],
    ids=[
        "the end of the body", "done", "done without a break", "a piece that is no JSON", "split",
        "other lines", "an unfinished body", "a reset", "a cut before a word", "a body without an end",
        "a short body", "an error", "an event", "a type", "an object", "busy", "unknown", "a page",
    ],
)  # fmt: skip
def test_how_an_answer_ends(
    children: Children,
    serve: Callable[[Behaviour], RawService],
    behave: Behaviour,
    expected: tuple[str, str, bool],
) -> None:
    assert outcome(ask(children, serve(behave).url)) == expected


@pytest.mark.parametrize(
    ("behave", "expected"),
    [
        (hangs(CHUNKED, say({"content": "a"})), ("a", "Agent response timeout", False)),
        (hangs(CHUNKED), ("", "Agent response timeout", True)),
    ],
    ids=["in mid-answer", "before a word"],
)
def test_a_service_that_falls_silent_is_given_up(
    children: Children,
    serve: Callable[[Behaviour], RawService],
    behave: Behaviour,
    expected: tuple[str, str, bool],
) -> None:
    assert outcome(ask(children, serve(behave).url, patience=1.0)) == expected


def test_a_service_that_is_away_is_tried_again_and_the_log_says_why(children: Children) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    logged, failed = ask(children, url)

    assert isinstance(logged, protocol.Log) and "Connection refused" in str(logged)
    assert outcome([failed]) == ("", "Agent service error: 503", True)


def test_a_line_without_an_end_is_not_kept(
    children: Children, serve: Callable[[Behaviour], RawService], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.child.agent_service.MAX_LINE", 1000)
    service = serve(hangs(CHUNKED, chunk("data: " + "x" * 2000)))

    assert outcome(ask(children, service.url)) == ("", CUT, True)


def test_the_example_is_such_a_service(children: Children) -> None:
    command = [sys.executable, str(WORKERS / "rag_service" / "service.py"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        said = ask(children, url, args={"match_count": 2})
        process.kill()

    assert outcome(said) == ("I would look for 2 passages on: Hello", "done", False)
