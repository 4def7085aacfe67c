"""The socket writer of a stream: by itself, and under readers of all kinds in a real web process."""

from __future__ import annotations

import random
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent import socket as cooperative

from runtime import settings as settings_module
from runtime.services import Services
from runtime.stream import Batch, Entry, Record, Signal
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.sse import Received, parse
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.attempt import Attempt
from tests.support.metrics import figure
from tests.support.web_process import stack_on_sqlite, web_only
from web.ops.metrics import Metrics
from web.streaming.socket_writer import SocketWriter

HEARTBEAT = 0.5
PATIENCE = 30
"""Seconds that a reader waits for a byte."""


# ── by itself ──


def test_it_knows_at_once_when_its_reader_has_closed_the_connection() -> None:
    with closing(cooperative.create_server(("127.0.0.1", 0))) as listener:
        theirs = cooperative.create_connection(listener.getsockname())
        ours, _ = listener.accept()
        with closing(ours):
            writer = connected(ours)
            assert not writer.gone()
            theirs.close()
            gevent.spawn(until, writer.gone).get(timeout=10)


class Answer:
    """As much of gunicorn's response as the writer looks at."""

    def __init__(self, chunked: bool) -> None:
        self.chunked = chunked

    def start_response(self, *_: Any) -> None:
        """What WSGI calls."""


@pytest.fixture
def ends() -> Iterator[tuple[Any, Any]]:
    """The two ends of a connection: the server's and the reader's."""
    ours, theirs = cooperative.socketpair()
    with closing(ours), closing(theirs):
        yield ours, theirs


def raw(record: Record) -> bytes:
    """An encoder: the payload as it is."""
    assert isinstance(record, Entry)
    return record.payload


def batch(data: bytes) -> Batch:
    return Batch([Entry("e", 1, "message.delta", "", data)])


def connected(
    ours: Any, protocol: str = "HTTP/1.1", chunked: bool = True, start_response: Any = None
) -> SocketWriter:
    writer = SocketWriter(Metrics(), raw)
    environ = {"gunicorn.socket": ours, "SERVER_PROTOCOL": protocol}
    writer.connect(environ, start_response or Answer(chunked).start_response)
    return writer


def test_it_opens_for_chunks_over_a_plain_socket(ends: tuple[Any, Any]) -> None:
    assert not SocketWriter(Metrics(), raw).open
    assert connected(ends[0]).open


def test_it_stays_closed_elsewhere(ends: tuple[Any, Any]) -> None:
    assert not connected(None).open
    assert not connected(ends[0], "HTTP/1.0").open
    assert not connected(ends[0], "HTTP/2.0").open
    assert not connected(ends[0], chunked=False).open
    assert not connected(ends[0], start_response=lambda *_: None).open


def test_it_stays_closed_under_tls(ends: tuple[Any, Any]) -> None:
    from gevent.ssl import SSLContext

    context = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(ends[0], do_handshake_on_connect=False) as secured:
        assert not connected(secured).open


def test_it_sends_chunks(ends: tuple[Any, Any]) -> None:
    ours, theirs = ends
    writer = connected(ours)
    assert writer.offer(batch(b"data: 1\n\n"))
    writer.finish()
    assert writer.offer(batch(b"data: 22222222\n\n"))
    assert theirs.recv(1000) == b"9\r\ndata: 1\n\n\r\n10\r\ndata: 22222222\n\n\r\n"


def test_what_remains_is_sent_as_the_reader_reads(ends: tuple[Any, Any]) -> None:
    ours, theirs = ends
    writer = connected(ours)
    data = random.Random(1).randbytes(3_000_000)
    assert not writer.offer(batch(data))
    sending = gevent.spawn(writer.finish)
    with theirs.makefile("rb") as file:
        size = file.readline()
        assert file.read(int(size, 16) + 2) == data + b"\r\n"
    sending.get(timeout=PATIENCE)
    assert writer.offer(batch(b"x"))
    assert theirs.recv(1000) == b"1\r\nx\r\n"


def test_a_reader_that_is_gone_is_an_error_to_the_one_who_finishes(ends: tuple[Any, Any]) -> None:
    ours, theirs = ends
    writer = connected(ours)
    theirs.close()
    assert not writer.offer(batch(b"data: 1\n\n"))
    with pytest.raises(OSError, match="pipe"):
        writer.finish()


# ── in a real web process ──


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, redis_server: RedisServer
) -> Iterator[Stack]:
    """A web process and nothing else; the test plays the pool."""
    settings = {"BRANCHLINE_STREAM_HEARTBEAT": str(HEARTBEAT)}
    folder = tmp_path_factory.mktemp("web")
    with web_only(stack_on_sqlite(folder, sqlite_template, redis_server, **settings)) as stack:
        yield stack


@pytest.fixture
def ada(stack: Stack) -> Iterator[Client]:
    """A client with an account."""
    with closing(stack.client()) as client:
        yield client


@pytest.fixture
def run(ada: Client) -> dict[str, Any]:
    """A run that waits for its attempt."""
    return ada.ask(ada.thread(), "Hello")["runs"][0]  # type: ignore[no-any-return]


@pytest.fixture
def attempt(stack: Stack, run: dict[str, Any]) -> Iterator[Attempt]:
    """The attempt of the run, which the test makes."""
    services = Services(settings_module.load(stack.environ))
    yield Attempt(services, run["id"])
    services.database.close()
    services.link.close()


class Reader:
    """Reads a stream from the bare socket, chunk by chunk, and believes nothing."""

    def __init__(self, ada: Client, path: str, small: bool = False, version: str = "1.1") -> None:
        self._socket = socket.socket()
        if small:  # before it connects, so that the window is small from the beginning
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        self._socket.settimeout(PATIENCE)
        self._socket.connect((ada.base_url.host, ada.base_url.port))
        self.file = self._socket.makefile("rb", buffering=1024)
        self._cookie = "; ".join(f"{name}={value}" for name, value in ada.cookies.items())
        self.ask(path, version)
        self.body = b""

    def ask(self, path: str, version: str = "1.1") -> None:
        """Send a request, and read the head of its answer."""
        head = f"GET {path} HTTP/{version}\r\nHost: localhost\r\nCookie: {self._cookie}\r\n\r\n"
        self._socket.sendall(head.encode())
        assert self.file.readline().split()[1] == b"200"
        while self.file.readline() != b"\r\n":
            pass

    def chunk(self) -> bytes:
        """The next chunk; empty at the end."""
        size = int(self.file.readline(), 16)
        data = self.file.read(size)
        assert len(data) == size
        assert self.file.read(2) == b"\r\n"
        self.body += data
        return data

    def read_until(self, done: Callable[[list[Received]], object]) -> list[Received]:
        """Read on until the events so far are enough."""
        while not done(self.events):
            assert self.chunk(), "the stream has ended"
        return self.events

    def read_to_end(self) -> bytes:
        """Everything but heartbeats."""
        while self.chunk():
            pass
        return self.body.replace(b": hb\n\n", b"")

    @property
    def events(self) -> list[Received]:
        return list(parse([self.body]))

    def close(self, reset: bool = False) -> None:
        """Go away, by a reset of the connection where it is asked for."""
        if reset:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.file.close()
        self._socket.close()


def started(events: list[Received]) -> bool:
    return "run.started" in [event.type for event in events]


def seqs(events: list[Received]) -> list[int]:
    return [event.data["seq"] for event in events]


class InBackground:
    """A call in a thread."""

    def __init__(self, call: Callable[[], bytes]) -> None:
        self._found: list[bytes] = []
        self._thread = threading.Thread(target=lambda: self._found.append(call()), daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        return bool(self._found)

    def result(self) -> bytes:
        """Wait for what the call returns."""
        self._thread.join(60)
        assert self._found, "it has not ended well"
        return self._found[0]


@pytest.mark.parametrize("size", [(5_000, 25_000), (60_000, 120_000), (200_000, 600_000)])
def test_a_reader_that_stops_and_reads_on_gets_every_byte_once_and_in_order(
    ada: Client, run: dict[str, Any], attempt: Attempt, size: tuple[int, int]
) -> None:
    path, chance = f"/api/runs/{run['id']}/events", random.Random(11)
    with ExitStack() as readers:
        slow, quick = (
            readers.enter_context(closing(Reader(ada, path, small=small))) for small in (True, False)
        )
        for reader in (slow, quick):
            reader.read_until(started)
        all_of_it = InBackground(quick.read_to_end)
        message, written = attempt.begin_message(), 0
        while written < 8_000_000:  # more than the buffers between them hold
            text = chance.choice("abcdefgh") * chance.randint(*size)
            attempt.write(message, text)
            written += len(text)
        attempt.finish()
        expected = all_of_it.result()
        assert slow.read_to_end() == expected
        numbers = seqs(slow.events)
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert slow.events[-1].type == "run.completed"


def test_readers_of_all_kinds_do_not_hinder_each_other(
    stack: Stack, ada: Client, run: dict[str, Any], attempt: Attempt
) -> None:
    path, chance = f"/api/runs/{run['id']}/events", random.Random(13)
    open_before = figure(ada, "open_streams")
    with ExitStack() as close:
        quick = [Reader(ada, path) for _ in range(10)]
        slow = [Reader(ada, path, small=True) for _ in range(10)]
        leaving = [Reader(ada, path, small=number % 3 == 0) for number in range(12)]
        for reader in (*quick, *slow):
            close.enter_context(closing(reader))
        for reader in (*quick, *slow, *leaving):
            reader.read_until(started)
        told = [InBackground(reader.read_to_end) for reader in quick]
        message = attempt.begin_message()
        for number in range(120):
            attempt.write(message, "x" * chance.choice((1, 50, 3_000, 30_000, 100_000)))
            if number % 10 == 9:
                leaving.pop().close(reset=number % 20 == 9)
        attempt.finish()
        told += [InBackground(reader.read_to_end) for reader in slow]
        [body] = {one.result() for one in told}
    assert [event.type for event in parse([body])].count("message.delta") == 120
    until(lambda: figure(ada, "open_streams") == open_before)
    assert "Traceback" not in stack.log("web")


def test_heartbeats_come_when_the_text_pauses(ada: Client, run: dict[str, Any], attempt: Attempt) -> None:
    with closing(Reader(ada, f"/api/runs/{run['id']}/events")) as reader:
        reader.read_until(started)
        message = attempt.begin_message()
        for written in range(1, 4):
            attempt.write(message, "x")
            reader.read_until(lambda events, n=written: len(texts(events)) == n)
            while reader.chunk() != b": hb\n\n":
                pass
        attempt.finish()
        reader.read_to_end()
        assert texts(reader.events) == ["x"] * 3


def test_a_stream_ends_after_a_sign_out_though_text_flows(
    ada: Client, run: dict[str, Any], attempt: Attempt
) -> None:
    with closing(Reader(ada, f"/api/runs/{run['id']}/events")) as reader:
        reader.read_until(started)
        told = InBackground(reader.read_to_end)
        message = attempt.begin_message()
        attempt.write(message, "before")
        ada.post("/api/auth/logout")
        until(lambda: attempt.write(message, "after") or told.ended)
        assert "run.completed" not in [event.type for event in reader.events]


def test_a_reader_goes_on_after_what_it_was_sent_last(
    ada: Client, run: dict[str, Any], attempt: Attempt
) -> None:
    seen: list[Received] = []
    message = attempt.begin_message()
    path = f"/api/runs/{run['id']}/events"
    for round in range(5):
        with closing(Reader(ada, f"{path}?after={seen[-1].id}" if seen else path)) as reader:
            for number in range(3):
                attempt.write(message, f"{round}.{number} ")
                reader.read_until(lambda events, text=f"{round}.{number} ": text in texts(events))
            seen += reader.events
    attempt.finish()
    with closing(Reader(ada, f"{path}?after={seen[-1].id}")) as reader:
        reader.read_to_end()
        seen += reader.events
        reader.ask("/healthz")  # the connection is as good as before
    assert seqs(seen) == list(range(seqs(seen)[0], seqs(seen)[0] + len(seen)))
    assert "".join(texts(seen)) == "".join(f"{round}.{number} " for round in range(5) for number in range(3))
    assert seen[-1].type == "run.completed"


def test_a_reader_of_an_older_protocol_gets_no_chunks(
    ada: Client, run: dict[str, Any], attempt: Attempt
) -> None:
    with closing(Reader(ada, f"/api/runs/{run['id']}/events", version="1.0")) as reader:
        told = InBackground(reader.file.read)
        attempt.say("one ", "two ", "three")
        attempt.finish()
        body = told.result()
    assert body.startswith(b"retry: 1000\n\n")
    assert "".join(texts(list(parse([body])))) == "one two three"


def texts(events: list[Received]) -> list[str]:
    return [event.data["text"] for event in events if event.type == "message.delta"]


def delta() -> Batch:
    return batch(b'{"at":"2026-01-31T12:00:00.000Z"}')


def test_the_figure_counts_every_reader() -> None:
    metrics = Metrics()
    same = delta()
    for sent in (
        same,
        same,
        Batch([Entry("e", 2, "run.step", "", b"{}")]),
        Batch([Signal({"type": "x"})]),
        delta(),
    ):
        metrics.delivered(sent)
    metric = metrics._latencies.metric("web")
    counts = SimpleNamespace(**{sample.name.rpartition("_")[2]: sample.value for sample in metric.samples})
    assert counts.count == 3
