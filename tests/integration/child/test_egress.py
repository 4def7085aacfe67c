"""The gateway out of a strict worker's network, against real servers, from inside a real one."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runtime.child.egress import Access, Gateway, Injection, Routes, routes
from runtime.sandbox import namespaces
from runtime.sandbox.destinations import Destinations
from tests.support.certificates import certificate_for, server_context
from tests.support.kernel import needs

pytestmark = needs(namespaces.missing())

DEADLINE = 20.0


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.more = threading.Event()
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path, dict(self.headers), body))
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"5\r\nhello\r\n")
        self.wfile.flush()
        if self.path == "/stream":
            self.server.more.wait(DEADLINE)
        self.wfile.write(b"6\r\n world\r\n0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[_Server]:
    server = _Server()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate_for("api.test", tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secure_server(authority: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    server = _Server(server_context(authority))
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names of hosts, and the addresses that they resolve to."""
    known: dict[str, list[str]] = {}
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in known:
            return resolve(host, port, *args, **kwargs)
        return [answer for address in known[host] for answer in resolve(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


class _Client:
    def __init__(self) -> None:
        self.accesses: list[Access] = []

    def report(self, access: Access) -> None:
        self.accesses.append(access)


Inside = Callable[..., Any]


@pytest.fixture
def client() -> _Client:
    return _Client()


@pytest.fixture
def inside(client: _Client) -> Iterator[Inside]:
    """Calls a function in a process that is alone in a network, with a gateway out of it."""
    gateways: list[Gateway] = []

    def run(ask: Callable[[], object], connect: list[str], **given: Any) -> Any:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            try:
                listener = namespaces.enter()
                socket.send_fds(theirs, [b"listener"], [listener.fileno()])
                listener.close()
                theirs.recv(1)
                os.environ.update(routes.variables())
                theirs.send(json.dumps(ask()).encode())
                os._exit(0)
            except BaseException as error:
                theirs.send(json.dumps({"failed": repr(error)}).encode())
            finally:
                os._exit(1)
        theirs.close()
        try:
            ours.settimeout(DEADLINE)
            _, descriptors, _, _ = socket.recv_fds(ours, 100, 1)
            allowed = Routes(
                Destinations(connect), given.get("credentials", {}), given.get("api", "http://a.test")
            )
            listener = socket.socket(fileno=descriptors[0])
            clients = given.get("clients", lambda pid: [(pid, client)])
            gateways.append(Gateway(listener, pid, allowed, lambda: clients(pid)))
            ours.send(b"!")
            return json.loads(ours.recv(1 << 16))
        finally:
            ours.close()
            os.waitpid(pid, 0)

    yield run
    for gateway in gateways:
        gateway.close()


def _get(url: str, **headers: str) -> list[Any]:
    """Status and body, as a worker's library gets them."""
    request = urllib.request.Request(url, headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:  # noqa: S310
            return [answer.status, answer.read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]
    except OSError as error:
        return [0, str(error)]


def test_a_worker_gets_what_its_worker_toml_names(
    inside: Inside, server: _Server, names: dict[str, list[str]], client: _Client
) -> None:
    names["api.test"] = ["127.0.0.1"]
    url = f"http://api.test:{server.port}/path?q=1"

    said = inside(lambda: _get(url), [f"api.test:{server.port}", f"127.0.0.1:{server.port}"])

    assert said == [200, "hello world"]
    [(method, path, headers, _)] = server.requests
    assert (method, path, headers["Host"]) == ("GET", "/path?q=1", f"api.test:{server.port}")
    assert client.accesses == [Access("api.test", server.port)]
    assert str(client.accesses[0]) == f"Connected to api.test:{server.port}"


def test_a_host_that_no_line_names_is_refused_with_the_line_that_would(
    inside: Inside, server: _Server, client: _Client
) -> None:
    status, text = inside(lambda: _get(f"http://127.0.0.1.nip.test:{server.port}/"), ["api.test"])

    assert status == 403
    assert f'add "127.0.0.1.nip.test:{server.port}" to connect in [sandbox] of worker.toml' in text
    assert server.requests == []
    assert [access.host for access in client.accesses if access.refused] == ["127.0.0.1.nip.test"]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
    ],
)  # fmt: skip
def test_a_name_does_not_lead_into_private_networks(
    inside: Inside, names: dict[str, list[str]], client: _Client, address: str
) -> None:
    names["rebound.test"] = [address]

    status, text = inside(lambda: _get("http://rebound.test/"), ["rebound.test"])

    assert (status, "which is private" in text) == (403, True), text
    assert client.accesses[0].refused is not None


def test_a_name_is_resolved_once_and_what_was_checked_is_connected_to(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the second answer is another."""
    answers = ["93.184.216.34", "127.0.0.1"]
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "rebound.test":
            return resolve(host, port, *args, **kwargs)
        asked.append(host)
        return resolve(answers[len(asked) - 1], port, *args, **kwargs)

    dialled: list[Any] = []

    connect = socket.create_connection

    def create_connection(address: Any, *args: Any, **kwargs: Any) -> Any:
        if address == ("127.0.0.1", namespaces.PORT):  # the worker's own
            return connect(address, *args, **kwargs)
        dialled.append(address)
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr("runtime.child.egress.dialer.socket.create_connection", create_connection)
    assert inside(lambda: _get("http://rebound.test/"), ["rebound.test"])[0] == 502

    assert dialled == [("93.184.216.34", 80)]
    assert asked == ["rebound.test"]


def test_a_redirect_leads_no_further_than_a_request(
    inside: Inside, server: _Server, names: dict[str, list[str]], client: _Client
) -> None:
    names["api.test"] = ["127.0.0.1"]
    url = f"http://api.test:{server.port}/redirect"

    status, _ = inside(lambda: _get(url), [f"api.test:{server.port}", f"127.0.0.1:{server.port}"])

    assert status == 403
    assert client.accesses[-1].host == "169.254.169.254"
    assert client.accesses[-1].refused


def test_a_tunnel_carries_tls_from_end_to_end(
    inside: Inside, secure_server: _Server, names: dict[str, list[str]], client: _Client
) -> None:
    names["api.test"] = ["127.0.0.1"]
    port = secure_server.port

    said = inside(lambda: _get(f"https://api.test:{port}/"), [f"api.test:{port}", f"127.0.0.1:{port}"])

    assert said == [200, "hello world"]
    assert client.accesses == [Access("api.test", port)]


def test_a_refused_tunnel_says_why_where_clients_look(inside: Inside) -> None:
    status, text = inside(lambda: _get("https://evil.test/"), [])
    assert status == 0
    assert 'add "evil.test" to connect' in text


def test_a_credential_is_added_on_the_way_and_the_worker_never_has_it(
    inside: Inside, secure_server: _Server, names: dict[str, list[str]]
) -> None:
    names["api.test"] = ["127.0.0.1"]
    port = secure_server.port
    credential = Injection("api.test", port, "Authorization", "Bearer sk-real")
    url = routes.base_url(f"api.test:{port}", "/v1") + "/chat"

    said = inside(
        lambda: _get(url, Authorization="Bearer placeholder"),
        [f"127.0.0.1:{port}"],
        credentials={f"api.test:{port}": credential},
    )

    assert said == [200, "hello world"]
    [(_, path, headers, _)] = secure_server.requests
    assert (path, headers["Authorization"], headers["Host"]) == (
        "/v1/chat",
        "Bearer sk-real",
        f"api.test:{port}",
    )


def test_a_host_with_a_wrong_certificate_gets_no_credential(
    inside: Inside, secure_server: _Server, names: dict[str, list[str]]
) -> None:
    names["other.test"] = ["127.0.0.1"]
    port = secure_server.port
    credential = Injection("other.test", port, "Authorization", "Bearer sk-real")
    url = routes.base_url("other.test", "/v1")

    status, _ = inside(lambda: _get(url), [f"127.0.0.1:{port}"], credentials={"other.test": credential})

    assert status == 502
    assert secure_server.requests == []


def test_the_api_is_reached_at_a_base_url_without_being_named(
    inside: Inside, server: _Server, client: _Client
) -> None:
    def ask() -> list[Any]:
        request = urllib.request.Request(f"{routes.API_URL}/worker/runs/1/events", data=b'{"type":"done"}')  # noqa: S310
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:  # noqa: S310
            return [answer.status]

    assert inside(ask, [], api=f"http://127.0.0.1:{server.port}/base/") == [200]
    [(method, path, headers, body)] = server.requests
    assert (method, path, body) == ("POST", "/base/worker/runs/1/events", b'{"type":"done"}')
    assert headers["Host"] == f"127.0.0.1:{server.port}"
    assert client.accesses == []


def test_an_answer_is_passed_on_piece_by_piece(
    inside: Inside, server: _Server, names: dict[str, list[str]]
) -> None:
    names["api.test"] = ["127.0.0.1"]

    def ask() -> list[Any]:
        connection = http.client.HTTPConnection("127.0.0.1", namespaces.PORT, timeout=DEADLINE)
        connection.request("GET", f"http://api.test:{server.port}/stream")
        answer = connection.getresponse()
        first = answer.read1(5).decode()
        # The rest is sent only once this request has been: the first piece was not held back.
        other = _get(f"http://api.test:{server.port}/other")
        server_more = http.client.HTTPConnection("127.0.0.1", namespaces.PORT, timeout=DEADLINE)
        server_more.request("GET", f"http://api.test:{server.port}/more")
        server_more.getresponse().read()
        return [first, other[0], answer.read().decode()]

    seen = threading.Thread(target=_release, args=(server,), daemon=True)
    seen.start()
    said = inside(ask, [f"api.test:{server.port}", f"127.0.0.1:{server.port}"])
    assert said == ["hello", 200, " world"]


def _release(server: _Server) -> None:
    while not any(path == "/more" for _, path, _, _ in server.requests):
        threading.Event().wait(0.01)
    server.more.set()


def test_several_requests_go_over_one_connection(
    inside: Inside, server: _Server, names: dict[str, list[str]]
) -> None:
    names["api.test"] = ["127.0.0.1"]

    def ask() -> list[Any]:
        connection = http.client.HTTPConnection("127.0.0.1", namespaces.PORT, timeout=DEADLINE)
        answers = []
        for method, body in (("GET", None), ("POST", b"x" * 300_000), ("GET", None)):
            connection.request(method, f"http://api.test:{server.port}/", body)
            answers.append(connection.getresponse().read().decode())
        return answers

    said = inside(ask, [f"api.test:{server.port}", f"127.0.0.1:{server.port}"])
    assert said == ["hello world"] * 3
    assert len(server.requests[1][3]) == 300_000


def test_headers_of_one_connection_go_no_further(
    inside: Inside, server: _Server, names: dict[str, list[str]]
) -> None:
    names["api.test"] = ["127.0.0.1"]

    def ask() -> str:
        with socket.create_connection(("127.0.0.1", namespaces.PORT), DEADLINE) as connection:
            connection.sendall(
                f"GET http://api.test:{server.port}/ HTTP/1.1\r\nHost: evil.test\r\nX-Mine: 1\r\n"
                "Proxy-Authorization: Basic eA==\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\r\n".encode()
            )
            return connection.makefile("rb").readline().decode()

    said = inside(ask, [f"api.test:{server.port}", f"127.0.0.1:{server.port}"])
    assert said.startswith("HTTP/1.1 200")
    headers = server.requests[0][2]
    assert headers["Host"] == f"api.test:{server.port}"
    assert headers["X-Mine"] == "1"
    assert not {"X-Hop", "Proxy-Authorization"} & headers.keys()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET https://api.test/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT api.test HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x00\xff\x01\x00\x00\xfb\x03\x03\r\n\r\n",
        b"GET http://api.test/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: x\r\n\r\n",
        b"GET http://api.test/ HTTP/1.1\r\n" + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_request_to_a_proxy_ends_the_connection(inside: Inside, request_bytes: bytes) -> None:
    def ask() -> str:
        with socket.create_connection(("127.0.0.1", namespaces.PORT), DEADLINE) as connection:
            try:
                connection.sendall(request_bytes)
                return connection.makefile("rb").read().decode("latin-1")
            except ConnectionError:
                return ""

    said = inside(ask, ["api.test"])
    assert said == "" or said.startswith(("HTTP/1.1 400", "HTTP/1.1 403", "HTTP/1.1 502"))


def test_each_connection_is_of_the_process_that_made_it(
    inside: Inside, server: _Server, client: _Client, tmp_path: Path
) -> None:
    """Two runs of a worker share a network, and each is told its own connections."""
    first, second = _Client(), _Client()
    pids = tmp_path / "pids"

    def ask() -> list[int]:
        children = []
        for name in ("one.test", "two.test"):
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.read(reader, 1)
                # A program that it starts is its, too.
                subprocess.run([sys.executable, "-c", _ASK, name], check=False)
                os._exit(0)
            children.append((pid, writer))
        pids.write_text(json.dumps([pid for pid, _ in children]))
        for _, writer in children:
            os.write(writer, b"!")
        return [os.waitpid(pid, 0)[1] for pid, _ in children]

    def clients(host: int) -> list[tuple[int, _Client]]:
        one, two = json.loads(pids.read_text())
        return [(one, first), (two, second), (host, client)]

    assert inside(ask, [], clients=clients) == [0, 0]
    assert [access.host for access in first.accesses] == ["one.test"]
    assert [access.host for access in second.accesses] == ["two.test"]
    assert client.accesses == []


_ASK = (
    "import sys, urllib.request\ntry: urllib.request.urlopen('http://' + sys.argv[1])\nexcept OSError: pass"
)


def test_a_run_has_a_bounded_number_of_connections(
    inside: Inside, server: _Server, names: dict[str, list[str]]
) -> None:
    names["api.test"] = ["127.0.0.1"]

    def ask() -> list[int]:
        held, answers = [], []
        for _ in range(66):
            connection = http.client.HTTPConnection("127.0.0.1", namespaces.PORT, timeout=DEADLINE)
            connection.request("GET", f"http://api.test:{server.port}/")
            answer = connection.getresponse()
            answer.read()
            held.append(connection)
            answers.append(answer.status)
        return answers

    said = inside(ask, [f"api.test:{server.port}", f"127.0.0.1:{server.port}"])
    assert said[:60] == [200] * 60
    assert said[-1] == 429


def test_there_is_no_way_out_but_the_gateway(inside: Inside, server: _Server) -> None:
    def ask() -> list[str]:
        said = []
        for address in (("127.0.0.1", server.port), ("192.0.2.1", 80), ("8.8.8.8", 53)):
            with socket.socket() as connection:
                said.append(os.strerror(connection.connect_ex(address)))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            said.append(os.strerror(datagrams.connect_ex(("8.8.8.8", 53))))
        return said

    refused, away = "Connection refused", "Network is unreachable"
    assert inside(ask, []) == [refused, away, away, away]
    assert server.requests == []
