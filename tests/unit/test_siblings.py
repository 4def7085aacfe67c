"""Web processes that hand each other requests: two of them in this process, over real sockets."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket
from gevent.event import Event

from web.panel.siblings import Siblings, owner_of

Environ = dict[str, Any]


class App:
    """What serves the connections of one process; it keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Environ, bytes]] = []

    def __call__(self, environ: Environ, start_response: Callable[..., object]) -> Iterable[bytes]:
        self.asked.append((environ, environ["wsgi.input"].read()))
        start_response(
            "200 OK", [("Content-Type", "text/plain"), ("Access-Control-Allow-Origin", "https://a")]
        )
        return [b"an", b"swer"]


def siblings(home: Path, app: App, patience: float = 20.0) -> Siblings:
    return Siblings(home, app, largest=1000, patience=patience)


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def other(tmp_path: Path, app: App) -> Iterator[Siblings]:
    other = siblings(tmp_path, app)
    other.start()
    yield other
    other.close()


@pytest.fixture
def ours(tmp_path: Path) -> Siblings:
    return siblings(tmp_path, App())


def request(sid: str, body: bytes = b"", **more: Any) -> Environ:
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/socket.io/",
        "QUERY_STRING": f"EIO=4&transport=polling&sid={sid}",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.url_scheme": "http",
    }
    return {**environ, "wsgi.input": io.BytesIO(body), **more}


def answer(ours: Siblings, environ: Environ) -> tuple[str, dict[str, str], bytes] | None:
    told: list[Any] = []
    body = ours.hand_on(environ, lambda *answered: told.extend(answered))  # type: ignore[arg-type]
    return None if body is None else (told[0], dict(told[1]), b"".join(body))


def test_a_request_is_answered_by_the_process_that_its_id_names(
    ours: Siblings, other: Siblings, app: App
) -> None:
    given = {
        "HTTP_ORIGIN": "https://a",
        "HTTP_UPGRADE": "h2c",
        "HTTP_COOKIE": "session=1",
        "HTTP_AUTHORIZATION": "Bearer t",
    }
    environ = request(f"{other.name}.x", b"4hello", **given)

    status, headers, body = answer(ours, environ) or ("", {}, b"")

    assert (status, headers["Access-Control-Allow-Origin"], body) == ("200 OK", "https://a", b"answer")
    [(asked, said)] = app.asked
    assert said == b"4hello"
    assert (asked["QUERY_STRING"], asked["HTTP_ORIGIN"]) == (environ["QUERY_STRING"], "https://a")
    assert "HTTP_COOKIE" not in asked and "HTTP_AUTHORIZATION" not in asked


def test_a_body_that_is_too_large_is_not_handed_on_but_its_length_is(
    ours: Siblings, other: Siblings, app: App
) -> None:
    assert answer(ours, request(f"{other.name}.x", b"x" * 1001)) is not None

    [(asked, said)] = app.asked
    assert (asked["CONTENT_LENGTH"], said) == ("1001", b"")


@pytest.mark.parametrize(
    "sid",
    ["", "x", "0" * 16, "0123456789abcdef.x", "../other.x", "/etc/x.y", "%00.x", "A" * 16 + ".x", "é" * 16],
    ids=["none", "short", "no rest", "nobody", "above", "a path", "nul", "upper case", "no ASCII"],
)
def test_an_id_that_names_nobody_is_answered_here(ours: Siblings, other: Siblings, sid: str) -> None:
    assert answer(ours, request(sid)) is None


def test_ones_own_id_and_a_request_without_one_are_answered_here(ours: Siblings, other: Siblings) -> None:
    assert answer(other, request(f"{other.name}.x")) is None
    assert owner_of({}) is owner_of({"QUERY_STRING": "EIO=4&transport=polling"}) is None


def test_a_socket_is_its_owners_only(
    ours: Siblings, other: Siblings, caplog: pytest.LogCaptureFixture
) -> None:
    path = other._path(other.name)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    ours.start()
    ours.close()
    assert caplog.text == ""


def test_nothing_but_requests_of_its_own_connections_is_served_to_others(
    ours: Siblings, other: Siblings, app: App
) -> None:
    os.link(other._path(other.name), other._path("b" * 16))

    assert answer(ours, request("b" * 16 + ".x")) is None
    assert app.asked == []


def upgraded(ours: Siblings, sid: str) -> tuple[socket.socket, gevent.Greenlet[..., None]]:
    """The client's end of a request for a WebSocket, and what answers it."""
    client, served = socket.socketpair()

    def ask() -> None:
        with served, suppress(StopIteration):
            answer(ours, request(sid, HTTP_UPGRADE="websocket", **{"gunicorn.socket": served}))

    return client, gevent.spawn(ask)


def test_the_bytes_of_a_websocket_are_handed_on_until_either_end_closes(
    ours: Siblings, tmp_path: Path
) -> None:
    def echo(environ: Environ, _: object) -> Iterable[bytes]:
        connection = environ["gunicorn.socket"]
        while piece := connection.recv(100_000):
            connection.sendall(piece)
        raise StopIteration

    other = Siblings(tmp_path, echo, largest=1000, patience=20)
    other.start()
    with closing(other):
        client, answering = upgraded(ours, f"{other.name}.x")
        with client:
            said = os.urandom(1 << 20)
            saying = gevent.spawn(client.sendall, said)
            heard = bytearray()
            while len(heard) < len(said):
                heard += client.recv(100_000)
            saying.get(timeout=10)
        answering.get(timeout=10)
    assert heard == said


def test_a_refused_upgrade_is_answered_as_it_stands(ours: Siblings, other: Siblings) -> None:
    client, answering = upgraded(ours, f"{other.name}.x")
    with client, client.makefile("rb") as answered:
        said = answered.read()
    answering.get(timeout=10)

    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and b"Connection: close" in head
    assert body == b"answer"


def test_a_process_that_stops_ends_what_it_has_handed_on(ours: Siblings, tmp_path: Path) -> None:
    asked, never = Event(), Event()

    def wait(environ: Environ, _: object) -> Iterable[bytes]:
        asked.set()
        never.wait()
        return []

    other = Siblings(tmp_path, wait, largest=1000, patience=20)
    other.start()
    with closing(other):
        polling = gevent.spawn(answer, ours, request(f"{other.name}.x"))
        assert asked.wait(10)
        asked.clear()
        client, upgrading = upgraded(ours, f"{other.name}.x")
        assert asked.wait(10)

        ours.close()

        assert polling.get(timeout=10) is None
        with client:
            assert client.recv(1) == b""
        upgrading.get(timeout=10)
        assert answer(ours, request(f"{other.name}.x")) is None
        never.set()


def test_what_is_handed_on_while_the_process_stops_is_ended(
    ours: Siblings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never, reach = Event(), ours._reach

    def wait(environ: Environ, _: object) -> Iterable[bytes]:
        never.wait()
        return []

    def reach_late(*asked: Any) -> Any:
        connection = reach(*asked)
        ours.close()
        return connection

    monkeypatch.setattr(ours, "_reach", reach_late)
    other = Siblings(tmp_path, wait, largest=1000, patience=20)
    other.start()
    with closing(other):
        assert gevent.spawn(answer, ours, request(f"{other.name}.x")).get(timeout=10) is None
        never.set()


@pytest.mark.parametrize("head", [b"\0\0\0\1\0\0\x10\0", b"\xff\xff\xff\xff\0\0\0\0"], ids=["body", "head"])
def test_what_is_too_large_on_the_socket_itself_is_refused(other: Siblings, app: App, head: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(other._path(other.name)))
        connection.sendall(head)
        assert connection.recv(1) == b""
    assert app.asked == []


def test_a_process_that_has_died_is_nobody_and_its_socket_is_deleted(tmp_path: Path, ours: Siblings) -> None:
    dead = ours._path("d" * 16)
    dead.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(dead))
        listener.listen()
        assert answer(siblings(tmp_path, App(), patience=0.05), request("d" * 16 + ".x")) is None
    assert answer(ours, request("d" * 16 + ".x")) is None

    ours.start()
    ours.close()
    assert dead.exists()  # it may be about to listen
    os.utime(dead, (0, 0))
    ours.start()
    ours.close()
    assert [*dead.parent.iterdir()] == []


def test_where_no_socket_can_be_made_requests_are_answered_here(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lonely = siblings(tmp_path / ("deep" * 40), App())
    lonely.start()

    assert "cannot hand on requests" in caplog.text
    assert answer(lonely, request("a" * 16 + ".x")) is None
    lonely.close()
