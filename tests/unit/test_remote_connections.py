"""Connections of a machine elsewhere: kept from one request to the next, and made anew where need be."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from runtime.sdk.remote.api import Api, Refused, Unreachable
from runtime.sdk.remote.connections import Connections
from runtime.testing.waiting import until
from tests.support.certificates import certificate_for, server_context

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n15\r\nevent: end\ndata: {}\n\n\r\n"
WITHIN = 10.0
Ask = Callable[[str], Api]


class Server:
    """Answers requests by what is listed for each connection, one after the other, and then closes it."""

    def __init__(self, *connections: list[bytes | None], context: ssl.SSLContext | None = None) -> None:
        """``None``: nothing is said, and the connection stays open."""
        self.requests: list[list[bytes]] = []
        """By connection."""
        self.closed = 0
        """How many connections it has closed."""
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ended = threading.Event()
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._serve, args=(connections,), daemon=True).start()

    def close(self) -> None:
        self._ended.set()
        self._listener.close()

    def _serve(self, connections: tuple[list[bytes | None], ...]) -> None:
        for answers in connections:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection, answers), daemon=True).start()

    def _answer(self, connection: socket.socket, answers: list[bytes | None]) -> None:
        requests: list[bytes] = []
        self.requests.append(requests)
        with suppress(OSError), ExitStack() as cleanup:
            cleanup.enter_context(connection)
            if self._context is not None:
                connection = cleanup.enter_context(self._context.wrap_socket(connection, server_side=True))
            for answer in answers:
                requests.append(_request(connection))
                if answer is None:
                    self._ended.wait(WITHIN)
                else:
                    connection.sendall(answer)
        self.closed += 1


def _request(connection: socket.socket) -> bytes:
    """The head of the next request, and its body where it has one."""
    found = b""
    while b"\r\n\r\n" not in found or (b"POST" in found and not found.endswith(b"}")):
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("the client has closed the connection")
        found += piece
    return found


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def serve(*connections: list[bytes | None], context: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(*connections, context=context))
        return servers[-1]

    yield serve
    for server in servers:
        server.close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def ask() -> Iterator[Ask]:
    """Requests to the server at a URL."""
    with ExitStack() as cleanup:

        def ask(url: str) -> Api:
            return Api(cleanup.enter_context(closing(Connections(url))), "/worker", "secret")

        yield ask


def test_one_connection_carries_one_request_after_the_other(serve: Callable[..., Server], ask: Ask) -> None:
    problem = b'{"type": "urn:branchline:problem:conflict", "detail": "no"}'
    refusal = b"HTTP/1.1 409 Conflict\r\nContent-Length: %d\r\n\r\n%b" % (len(problem), problem)
    end = b"0\r\n\r\n"
    server = serve([ANSWER, refusal, STREAM + end, ANSWER])
    asked = ask(server.url)

    assert asked.get("/claims", WITHIN) == {}
    with pytest.raises(Refused, match="no"):
        asked.post("/events", {"type": "done"}, WITHIN)
    assert list(asked.events("/commands")) == [("end", {})]
    assert asked.post("/events", {"type": "done"}, WITHIN) == {}
    [requests] = server.requests
    assert [request.partition(b" HTTP")[0] for request in requests] == [
        b"GET /worker/claims",
        b"POST /worker/events",
        b"GET /worker/commands",
        b"POST /worker/events",
    ]


def test_requests_at_the_same_time_have_connections_of_their_own(
    serve: Callable[..., Server], ask: Ask
) -> None:
    server = serve([STREAM], [ANSWER, ANSWER])
    asked = ask(server.url)
    stream = asked.events("/commands")
    with closing(stream):  # type: ignore[type-var]
        next(stream)
        assert asked.get("/claims", WITHIN) == {}
    assert asked.get("/claims", WITHIN) == {}, "that of a stream that was left is not used again"
    assert [len(requests) for requests in server.requests] == [1, 2]


def test_a_connection_that_was_closed_while_it_waited_is_not_used_again(
    serve: Callable[..., Server], ask: Ask
) -> None:
    server = serve([ANSWER], [ANSWER])
    asked = ask(server.url)
    asked.get("/claims", WITHIN)
    until(lambda: server.closed == 1, WITHIN)
    assert asked.post("/events", {"type": "done"}, WITHIN) == {}
    assert [len(requests) for requests in server.requests] == [1, 1]


def test_a_request_whose_kept_connection_is_closed_before_the_answer_is_made_again_once(
    serve: Callable[..., Server],
    ask: Ask,
) -> None:
    server = serve([ANSWER, b""], [ANSWER, b""], [b""])
    asked = ask(server.url)
    asked.get("/claims", WITHIN)
    assert asked.post("/events", {"type": "done"}, WITHIN) == {}
    first, second = server.requests
    assert first[1] == second[0]

    with pytest.raises(Unreachable):
        asked.get("/claims", WITHIN)
    assert [len(requests) for requests in server.requests] == [2, 2, 1]


@pytest.mark.parametrize("cut", [b"HTT", ANSWER[:-1]], ids=["in-the-status", "in-the-body"])
def test_a_request_whose_answer_has_begun_is_not_made_again(
    serve: Callable[..., Server], ask: Ask, cut: bytes
) -> None:
    server = serve([ANSWER, cut], [ANSWER])
    asked = ask(server.url)
    asked.get("/claims", WITHIN)
    with pytest.raises(Unreachable):
        asked.get("/claims", WITHIN)
    assert [len(requests) for requests in server.requests] == [2]
    assert asked.get("/claims", WITHIN) == {}


def test_silence_on_a_kept_connection_takes_the_time_of_its_request_and_ends_all_that_wait(
    serve: Callable[..., Server],
    ask: Ask,
) -> None:
    server = serve([STREAM + b"0\r\n\r\n", None], [ANSWER, ANSWER], [ANSWER])
    asked = ask(server.url)
    stream = asked.events("/commands")
    next(stream)
    asked.get("/claims", WITHIN)  # by a second one, for the first is not read to its end
    assert list(stream) == []
    with pytest.raises(Unreachable, match="timed out"):
        asked.get("/claims", 0.1)
    assert asked.get("/claims", WITHIN) == {}
    assert [len(requests) for requests in server.requests] == [2, 1, 1]


def test_tls_is_agreed_on_once_and_the_authorities_are_read_once(
    serve: Callable[..., Server], ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = certificate_for("localhost", tmp_path)
    context = server_context(certificate)
    server = serve([ANSWER, ANSWER], [ANSWER], context=context)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    read: list[object] = []
    make = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda: read.append(0) or make())

    asked = ask(f"https://localhost:{server.port}")
    for _ in range(2):
        assert asked.get("/claims", WITHIN) == {}
    until(lambda: server.closed == 1, WITHIN)
    assert asked.get("/claims", WITHIN) == {}
    assert ([len(requests) for requests in server.requests], len(read)) == ([2, 1], 1)

    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Unreachable, match="certificate verify failed"):
        ask(f"https://localhost:{serve([ANSWER], context=context).port}").get("/", WITHIN)


@contextmanager
def tunnel(to: int) -> Iterator[tuple[int, list[bytes]]]:
    """A proxy that leads to a port of this machine: its port, and the heads that it was sent."""
    heads: list[bytes] = []

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        client, _ = listener.accept()
        with client, socket.create_connection(("127.0.0.1", to)) as server:
            heads.append(_request(client))
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=carry, args=(server, client), daemon=True)
            back.start()
            carry(client, server)
            back.join(WITHIN)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1], heads


def test_a_proxy_leads_to_a_server_with_tls(
    serve: Callable[..., Server], ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = certificate_for("chat.example", tmp_path)
    server = serve([ANSWER, ANSWER], context=server_context(certificate))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with tunnel(server.port) as (port, heads):
        monkeypatch.setenv("HTTPS_PROXY", f"http://ann:p%40ss@127.0.0.1:{port}")
        asked = ask("https://chat.example/base")
        for _ in range(2):
            assert asked.get("/claims", WITHIN) == {}
    [head] = heads
    assert head.startswith(b"CONNECT chat.example:443 HTTP/1.") and b"Basic YW5uOnBAc3M=" in head
    assert [request.partition(b" HTTP")[0] for request in server.requests[0]] == [
        b"GET /base/worker/claims"
    ] * 2
    assert b"Proxy-Authorization" not in server.requests[0][0]


def test_a_proxy_is_asked_for_what_has_no_tls_unless_the_server_needs_none(
    serve: Callable[..., Server], ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, server = serve([ANSWER]), serve([ANSWER])
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.port}")
    assert ask("http://chat.example/base/").get("/claims", WITHIN) == {}
    assert proxy.requests[0][0].startswith(
        b"GET http://chat.example/base/worker/claims HTTP/1.1\r\nHost: chat.example\r\n"
    )

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert ask(server.url).get("/claims", WITHIN) == {}


def test_a_proxy_that_is_to_be_spoken_to_by_tls_is_not_asked_for_a_tunnel_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", "https://ann:secret@proxy.example:3128")
    with pytest.raises(ValueError, match=r"the proxy https://proxy\.example:3128 is to be spoken to by TLS"):
        Connections("https://chat.example")
    monkeypatch.setenv("no_proxy", "chat.example")
    Connections("https://chat.example").close()


@pytest.mark.parametrize("url", ["chat.example", "ftp://chat.example", "https://", "https://chat.example:x"])
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"is no URL of a server|Port could not be cast"):
        Connections(url)
