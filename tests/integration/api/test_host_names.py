"""A web process answers to its own names only; a request for another's is refused unread (DNS rebinding)."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from runtime.testing.client import Client
from runtime.testing.ports import free_port
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import READY_WITHIN, Stack
from runtime.testing.waiting import until
from tests.support.watcher import Watcher, flower_settings
from tests.support.web_process import stack_on_sqlite, web_only

SIGN_IN = b'{"email": "dev@example.com", "password": "branchline"}'
MISDIRECTED = [
    b"POST /api/auth/login HTTP/1.1\r\nHost: evil.example\r\n",
    b"POST /api/auth/login HTTP/1.1\r\nHost: evil.example:8000\r\n",
    b"POST /api/auth/login HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n",
    b"POST /api/auth/login HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost\r\n",
    b"POST /api/auth/login HTTP/1.1\r\nHost: localhost@evil.example\r\n",
    b"POST /api/auth/login HTTP/1.1\r\nHost: localhost, evil.example\r\n",
    b"POST /api/auth/login HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n",
    b"POST /api/auth/login HTTP/1.1\r\nHost:\r\n",
    b"POST /api/auth/login HTTP/1.1\r\n",
    b"POST /api/auth/login HTTP/1.0\r\n",
    b"POST http://evil.example/api/auth/login HTTP/1.1\r\nHost: localhost\r\n",
    b"POST http://localhost@evil.example/api/auth/login HTTP/1.1\r\nHost: localhost\r\n",
    b"GET /api/me HTTP/1.1\r\nHost: evil.example\r\nAuthorization: Bearer x\r\n",
    b"GET /nowhere HTTP/1.1\r\nHost: evil.example\r\n",
    b"GET /static/app.css HTTP/1.1\r\nHost: evil.example\r\n",
    b"GET /api/openapi.json HTTP/1.1\r\nHost: evil.example\r\n",
    b"GET / HTTP/1.1\r\nHost: evil.example\r\n",
    b"PUT /healthz/x HTTP/1.1\r\nHost: evil.example\r\n",
]


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, stack_redis: RedisServer
) -> Iterator[Stack]:
    with web_only(stack_on_sqlite(tmp_path_factory.mktemp("stack"), sqlite_template, stack_redis)) as stack:
        yield stack


def answer(stack: Stack, head: bytes, body: bytes = b"") -> tuple[int, bytes]:
    """The status and the body of the answer to a request, of whose body perhaps nothing is sent."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=20) as connection:
        connection.sendall(head + b"Connection: close\r\n\r\n" + body)
        received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize("head", MISDIRECTED)
def test_a_request_for_another_host_is_refused_before_its_body_is_read(stack: Stack, head: bytes) -> None:
    status, body = answer(stack, head + b"Content-Length: 50\r\n")  # of which none is sent

    assert status == 421, body
    assert json.loads(body)["type"] == "urn:branchline:problem:misdirected"
    assert b"BRANCHLINE_WEB_HOSTS" in body


@pytest.mark.parametrize(
    "name", [b"localhost", b"LOCALHOST:1", b"localhost.", b"127.0.0.1:80", b"[::1]:8000"]
)
def test_a_request_for_this_machine_is_answered(stack: Stack, name: bytes) -> None:
    length = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(SIGN_IN)
    head = b"POST /api/auth/login HTTP/1.1\r\nHost: %b\r\n%b" % (name, length)

    assert answer(stack, head, SIGN_IN)[0] == 401
    assert answer(stack, b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\n" % (name, name))[0] == 200


@pytest.mark.parametrize("path", [b"/healthz", b"/readyz", b"/metrics"])
@pytest.mark.parametrize("host", [b"Host: 10.1.2.3:8000\r\n", b"Host: evil.example\r\n", b""])
def test_probes_answer_to_any_name(stack: Stack, path: bytes, host: bytes) -> None:
    assert answer(stack, b"GET %b HTTP/1.1\r\n%b" % (path, host))[0] == 200


@pytest.fixture(scope="module")
def ipv6() -> None:
    """Skips a test where this machine has no loopback by IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError as error:
        pytest.skip(f"no IPv6 on the loopback of this machine: {error}")


def test_web_process_and_flower_answer_at_addresses_of_ipv6(stack: Stack, ipv6: None) -> None:
    by_others = {"BRANCHLINE_WEB_HOSTS": "[::1]", "BRANCHLINE_SECURITY_INSECURE": "true"}
    started = []
    for host, more in (("::1", {}), ("::", by_others)):
        environ = {**flower_settings(), "PORT": str(free_port()), "HOST": host, **more}
        for process in ("web", "flower"):
            stack.start(process, f"{process} at {host}", **environ)
        started.append(environ)
    for environ in started:
        with Client(f"http://[::1]:{environ['PORT']}") as client, Watcher(environ, "[::1]") as watcher:
            until(lambda client=client: answers(client, "/readyz"), READY_WITHIN, "the web process")
            client.register()
            assert client.thread()["id"] == client.get("/api/threads").json()["items"][0]["id"]
            until(lambda watcher=watcher: answers(watcher, "/healthcheck"), READY_WITHIN, "Flower")
            assert watcher.get("/tasks").status_code == 200
    everywhere = started[-1]
    with Client(f"http://127.0.0.1:{everywhere['PORT']}") as client, Watcher(everywhere) as watcher:
        assert client.get("/healthz").status_code == watcher.get("/healthcheck").status_code == 200


def answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False
