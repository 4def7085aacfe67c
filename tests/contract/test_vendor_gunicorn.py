"""The internals of gunicorn that :mod:`web.http.gunicorn` uses are what they were when it was written.

A failure here after an upgrade names what has changed; the module, and the bound in
setup.cfg, are the two places to mend.
"""

from __future__ import annotations

import inspect
import io
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from gevent.pool import Pool
from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http import RequestParser, wsgi
from gunicorn.http.body import Body, ChunkedReader
from gunicorn.http.unreader import IterUnreader
from gunicorn.workers.base import Worker
from gunicorn.workers.base_async import AsyncWorker
from gunicorn.workers.ggevent import GeventWorker

from web.http import gunicorn as ours
from web.http.clients import Bounds, Client, Clients, Part

CHANGED = "gunicorn's {} has changed: mend web/http/gunicorn.py, or lower the bound in setup.cfg"


def changed(what: str) -> str:
    return CHANGED.format(what)


def chunked_reader(*received: bytes) -> ChunkedReader:
    """gunicorn's reader of a chunked body, given what the socket receives."""
    return ChunkedReader(SimpleNamespace(parse_headers=lambda *_, **__: []), IterUnreader(iter(received)))


def test_the_page_for_invalid_http_is_written_by_util_write_error() -> None:
    assert list(inspect.signature(util.write_error).parameters) == ["sock", "status_int", "reason", "mesg"], (
        changed("util.write_error")
    )
    assert "util.write_error(" in inspect.getsource(Worker.handle_error), changed("Worker.handle_error")
    assert list(inspect.signature(util.write_nonblock).parameters)[:2] == ["sock", "data"], changed(
        "util.write_nonblock"
    )


def test_the_replaced_page_is_what_the_client_receives(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    monkeypatch.setattr(util, "write_error", util.write_error)  # put back after the test
    monkeypatch.setattr(util, "write_nonblock", lambda _, data: sent.append(data))

    ours.replace_error_page(lambda status, reason, detail: f"{status} {reason}: {detail}".encode())
    util.write_error(None, 400, "Bad Request", "no colon")

    assert sent == [b"400 Bad Request: no colon"]


def test_a_response_says_whether_it_is_chunked_and_can_close_its_connection() -> None:
    request = SimpleNamespace(version=(1, 1), method="GET", should_close=lambda: False)
    response = wsgi.Response(request, None, SimpleNamespace(is_ssl=False, sendfile=None))

    assert ours.response_of(response.start_response) is response, changed("start_response")
    assert response.chunked is False, changed("Response.chunked")
    assert not ours.is_chunked(response)
    response.start_response("200 OK", [("Content-Type", "text/event-stream")])
    assert ours.is_chunked(response), changed("Response.chunked")
    ours.close_after(response)
    assert response.should_close(), changed("Response.force_close")


def test_a_response_that_is_not_gunicorns_is_none() -> None:
    assert ours.response_of(lambda *_: None) is None
    assert not ours.is_chunked(None)
    ours.close_after(None)


def test_the_environ_names_the_socket() -> None:
    assert '"gunicorn.socket": sock' in inspect.getsource(wsgi), changed("environ")


def test_a_chunked_body_is_read_as_it_comes() -> None:
    waits: list[str] = []

    def received() -> Iterator[bytes]:
        yield b"5\r\nfirst\r\n"
        waits.append("the first piece was returned before the second was received")
        yield b"6\r\nsecond\r\n0\r\n\r\n"

    reader = ChunkedReader(SimpleNamespace(parse_headers=lambda *_, **__: []), IterUnreader(received()))
    pieces = ours.body_as_it_comes({"wsgi.input": Body(reader)}, None)

    assert next(pieces) == b"first", changed("ChunkedReader")
    assert waits == [], changed("ChunkedReader")
    assert list(pieces) == [b"second"], changed("ChunkedReader")


def test_a_body_that_ends_within_a_chunk_is_one_of_the_body_errors() -> None:
    pieces = ours.body_as_it_comes({"wsgi.input": Body(chunked_reader(b"5\r\nfir"))}, None)

    with pytest.raises(ours.BODY_ERRORS):
        list(pieces)


def test_a_body_of_known_length_is_read_from_the_request() -> None:
    assert list(ours.body_as_it_comes({"wsgi.input": io.BytesIO()}, io.BytesIO(b"whole"))) == [b"whole"]


def test_the_arbiter_and_the_logger_have_what_is_used() -> None:
    assert "LISTENERS" in vars(Arbiter), changed("Arbiter.LISTENERS")
    assert issubclass(ours.ErrorLogger, Logger)
    for name in ("access", "exception"):
        assert callable(getattr(Logger, name, None)), changed(f"Logger.{name}")


@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_request_is_read_from_what_stands_for_its_socket_which_is_found_again(framing: bytes) -> None:
    clients = Clients(Bounds(patience=1, idle=1, total=1, per_address=1, capacity=9))
    sent = iter([b"POST / HTTP/1.1\r\n", framing, b"\r\n"])
    client = Client(SimpleNamespace(recv=lambda _: next(sent)), ("10.0.0.1", 1), clients)
    request = next(RequestParser(Config(), client, ("10.0.0.1", 1)))

    assert request.body.failed is False, changed("Body")
    ours.expect_endless_body({"wsgi.input": request.body})
    assert client.part is Part.ENDLESS, changed("the way from a body to its socket")


def test_the_worker_serves_a_connection_in_a_method_of_its_own() -> None:
    assert list(inspect.signature(AsyncWorker.handle).parameters) == ["self", "listener", "client", "addr"], (
        changed("AsyncWorker.handle")
    )
    served = list(inspect.signature(GeventWorker.handle_request).parameters)
    assert served == ["self", "listener_name", "req", "sock", "addr"], changed("GeventWorker.handle_request")
    assert "raise StopIteration" in inspect.getsource(AsyncWorker.handle_request), changed("handle_request")
    assert "partial(self.handle, s)" in inspect.getsource(GeventWorker.run), changed("GeventWorker.run")


def test_only_one_module_of_the_web_process_imports_gunicorn() -> None:
    web = Path(ours.__file__).parent.parent
    importing = {
        path.relative_to(web).as_posix()
        for path in web.rglob("*.py")
        if any(
            line.startswith(("from gunicorn", "import gunicorn")) for line in path.read_text().splitlines()
        )
    }

    assert importing == {"http/gunicorn.py"}


def test_the_worker_has_its_connections_from_a_stream_server_of_its_module() -> None:
    source = inspect.getsource(GeventWorker.run)
    assert "server = StreamServer(" in source and "server.close()" in source, changed("GeventWorker.run")


def test_connections_that_the_kernel_has_accepted_are_served_before_the_socket_is_closed() -> None:
    served: list[object] = []
    server = ours.Server(("127.0.0.1", 0), lambda client, address: served.append(address), spawn=Pool(10))
    server.start()

    # Nothing here gives the server a turn, so that it has accepted neither.
    address = "127.0.0.1", server.server_port
    clients = [socket.create_connection(address) for _ in range(2)]
    server.close()
    server.stop(5)

    assert sorted(served) == sorted(client.getsockname() for client in clients)
    for client in clients:
        client.close()
