"""Clients that send their requests slowly, or never, keep nobody else from being answered."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import pytest

from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from tests.support.web_process import stack_on_sqlite, web_only

HALF_OPEN = 500
PATIENCE = 30
"""Seconds that a test waits for an answer, or for the end of a connection."""

GET = b"GET /api/me HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, stack_redis: RedisServer
) -> Iterator[Stack]:
    """A web process that waits a second for a request."""
    settings = {"BRANCHLINE_WEB_REQUEST_TIMEOUT": "1"}
    folder = tmp_path_factory.mktemp("stack")
    with web_only(stack_on_sqlite(folder, sqlite_template, stack_redis, **settings)) as stack:
        yield stack


@pytest.fixture(scope="module")
def patient(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, stack_redis: RedisServer
) -> Iterator[Stack]:
    """A web process that has 300 connections, and waits for a request longer than a test lasts."""
    settings = {"BRANCHLINE_WEB_REQUEST_TIMEOUT": "600", "BRANCHLINE_WEB_CONNECTIONS": "300"}
    folder = tmp_path_factory.mktemp("patient")
    with web_only(stack_on_sqlite(folder, sqlite_template, stack_redis, **settings)) as stack:
        yield stack


def connect(stack: Stack, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", stack.port), timeout=PATIENCE)
    connection.sendall(sent)
    return connection


def to_the_end(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    received = b""
    try:
        while piece := connection.recv(1 << 16):
            received += piece
    except ConnectionResetError:
        pass
    return received


def one_answer(connection: socket.socket) -> None:
    """Receive the whole answer to a request by nobody."""
    received = b""
    while not received.endswith(b"}"):
        received += connection.recv(1 << 16)
    assert received.startswith(b"HTTP/1.1 401 ")


@contextmanager
def trickling(connection: socket.socket, piece: bytes) -> Iterator[None]:
    """Within it ``piece`` is sent ten times a second, until the server closes the connection."""
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.1):
            try:
                connection.sendall(piece)
            except OSError:
                return

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_client_that_sends_nothing_is_left(stack: Stack) -> None:
    with closing(connect(stack)) as connection:
        assert to_the_end(connection) == b""


@pytest.mark.parametrize("piece", [b"X", b"X-a: b\r\n", b"\r"])
def test_a_client_that_never_ends_its_headers_is_told_so(stack: Stack, piece: bytes) -> None:
    with closing(connect(stack, GET)) as connection, trickling(connection, piece):
        assert b" 408 " in to_the_end(connection)[:20] or piece == b"\r"


def test_a_second_request_on_a_connection_is_waited_for_no_longer(stack: Stack) -> None:
    with closing(connect(stack, GET + b"\r\n")) as connection:
        one_answer(connection)
        connection.sendall(b"GET /api")
        head, _, body = to_the_end(connection).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["status"] == 408


@pytest.mark.parametrize("length", [b"Content-Length: 1000\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_client_that_never_ends_its_body_is_told_so(stack: Stack, length: bytes) -> None:
    piece = b"1\r\n \r\n" if b"chunked" in length else b" "
    with closing(connect(stack, POST + length + b"\r\n")) as connection, trickling(connection, piece):
        head, _, body = to_the_end(connection).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["status"] == 408


@pytest.mark.parametrize(
    "sent", [b"", b"G", GET, POST + b"Content-Length: 1000\r\n\r\n{", GET + b"Content-Length: 9\r\n\r\n"]
)
def test_half_open_connections_keep_nobody_from_being_answered(patient: Stack, sent: bytes) -> None:
    with ExitStack() as leave:
        held = [leave.enter_context(closing(connect(patient, sent))) for _ in range(HALF_OPEN)]
        with Client(patient.url) as client:
            client.register()
            assert client.get("/api/me").status_code == 200
        to_the_end(held[0])  # the oldest had to give way


def test_a_stream_gives_way_to_nobody(patient: Stack) -> None:
    with Client(patient.url) as client, ExitStack() as leave:
        client.register()
        thread = client.thread()
        with client.stream(f"/api/threads/{thread['id']}/events") as events:
            for _ in range(HALF_OPEN):
                leave.enter_context(closing(connect(patient, b"G")))
            client.patch(f"/api/threads/{thread['id']}", json={"title": "still here"})
            assert next(events).type == "thread.updated"


def test_idle_connections_of_answered_requests_give_way_as_well(patient: Stack) -> None:
    with ExitStack() as leave:
        for _ in range(HALF_OPEN):
            connection = leave.enter_context(closing(connect(patient, GET + b"\r\n")))
            one_answer(connection)
        assert httpx.get(f"{patient.url}/healthz").status_code == 200


def test_a_head_that_is_too_large_is_refused_before_it_ends(patient: Stack) -> None:
    with closing(connect(patient, GET)) as connection:
        for number in range(40):
            connection.sendall(b"X-%d: %b\r\n" % (number, b"a" * 2000))
        assert to_the_end(connection).startswith(b"HTTP/1.1 431 ")


def test_a_client_that_sends_all_of_a_refused_body_gets_the_answer(patient: Stack) -> None:
    answer = httpx.post(f"{patient.url}/api/auth/login", content=b"x" * 11_000_000)

    assert answer.status_code == 413


def test_slow_clients_leave_no_traceback_in_the_log(stack: Stack, patient: Stack) -> None:
    for each in (stack, patient):
        assert not re.search("Traceback|Error handling", each.log("web"))
