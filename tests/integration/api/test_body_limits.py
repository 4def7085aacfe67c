"""Each route takes a body as large as it needs, and refuses a larger one unread."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from flask import Flask

from runtime.testing.client import PASSWORD, Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from tests.support.web import Client as WebClient
from tests.support.web_process import stack_on_sqlite, web_only
from web.api import body_limits
from web.core import Core
from web.http.lanes import Lane

LARGEST = 10 << 20
BEFORE_SIGN_IN = [
    "/api/auth/login",
    "/api/auth/register",
    "/api/auth/logout",
    "/api/auth/password",
    "/api/tokens",
    "/",
]


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, stack_redis: RedisServer
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    with web_only(stack_on_sqlite(folder, sqlite_template, stack_redis, from_python=True)) as stack:
        yield stack


def answer(stack: Stack, path: str, headers: str, body: bytes = b"") -> bytes:
    """What comes back for a request whose body is sent in part."""
    request = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n".encode()
    with closing(socket.create_connection(("127.0.0.1", stack.port), timeout=20)) as connection:
        connection.sendall(request + body)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


@pytest.mark.parametrize("path", BEFORE_SIGN_IN)
def test_a_large_body_is_refused_before_any_of_it_is_there(stack: Stack, path: str) -> None:
    head, _, body = answer(stack, path, "Content-Length: 10000000\r\n").partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 413 "), head
    assert "bytes" in json.loads(body)["detail"]


@pytest.mark.parametrize("path", BEFORE_SIGN_IN[:2])
def test_a_body_of_unknown_length_is_read_to_the_limit_only(stack: Stack, path: str) -> None:
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"

    assert answer(stack, path, "Transfer-Encoding: chunked\r\n", chunk).startswith(b"HTTP/1.1 413 ")


def test_the_largest_account_fits(stack: Stack) -> None:
    password = "".join(chr(0x1F600 + number * number % 79) for number in range(1024))
    account = {
        "email": f"{'e' * 64}@{'x' * 180}.example",
        "password": password,
        "name": "\N{GRINNING FACE}" * 200,
    }
    body = json.dumps(account).encode()
    changed = json.dumps({"current_password": password, "new_password": password[::-1]}).encode()

    with Client(stack.url) as client:
        assert client.post("/api/auth/register", content=body).status_code == 201
        assert client.post("/api/auth/password", content=changed).status_code == 200


def test_what_is_for_messages_takes_large_bodies(stack: Stack) -> None:
    with Client(stack.url) as client:
        client.register()
        thread = client.thread(metadata={"text": "x" * 1_000_000})
        message = {"role": "user", "content": "x" * 9_000_000}
        body = {"parent_id": thread["root_state_id"], "messages": [message]}
        assert client.post(f"/api/threads/{thread['id']}/states", json=body).status_code == 201


def test_many_large_bodies_for_signing_in_need_no_memory(stack: Stack) -> None:
    credentials = json.dumps({"email": "a@b.example", "password": PASSWORD}).encode().ljust(9_000_000)
    before = peak_memory(stack)

    with ExitStack() as leave:
        for framing in ("Content-Length: 9000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n895440\r\n"):
            for _ in range(40):
                connection = socket.create_connection(("127.0.0.1", stack.port), timeout=20)
                leave.enter_context(closing(connection))
                head = (
                    "POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                )
                connection.sendall((head + framing).encode())
                try:
                    connection.sendall(credentials)
                except OSError:
                    pass  # the server has closed it already

    assert peak_memory(stack) - before < 60 << 20


def peak_memory(stack: Stack) -> int:
    """Bytes that the web process that answers has needed at most."""
    master = stack.processes["web"].pid
    [child] = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    status = Path(f"/proc/{child}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def test_large_bodies_of_a_user_wait_for_each_other(ada: WebClient, core: Core) -> None:
    core.large_bodies = Lane(1, 1, 0, "Too many.")
    thread = ada.thread()

    def send(size: int) -> int:
        body = {"parent_id": thread["root_state_id"], "messages": [{"role": "user", "content": "x" * size}]}
        return ada.post(f"/api/threads/{thread['id']}/states", json=body).status_code

    with core.large_bodies.hold("somebody"):
        assert [send(2_000_000), send(1000)] == [429, 201]
    assert [send(2_000_000), send(2_000_000)] == [201, 201]


def test_the_table_names_routes_that_there_are_and_the_document_says_each_limit(app: Flask) -> None:
    rules = {rule.endpoint: rule for rule in app.url_map.iter_rules()}
    assert set(body_limits.larger_than_usual()) <= rules.keys()

    paths = json.loads(app.extensions["flask-smorest"]["apis"][""]["ext_obj"].document)["paths"]
    said = {
        (path, method): operation["requestBody"]["description"]
        for path, operations in paths.items()
        for method, operation in operations.items()
        if "requestBody" in operation
    }
    assert said["/api/auth/login", "post"] == f"At most {body_limits.USUAL} bytes, else 413."
    assert said["/api/threads/{thread_id}", "patch"] == f"At most {1 << 20} bytes, else 413."
    assert said["/api/threads/import", "post"] == f"At most {LARGEST} bytes, else 413."
