"""A web site on this machine, for tests of what reads pages."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    """To a request for one path."""

    body: bytes = b""
    type: str = "text/html"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    endless: bool = False
    """Whether a byte follows now and then, until the site is closed."""


class Website:
    """Answers by path; what it does not have is 404."""

    def __init__(self) -> None:
        self.pages: dict[str, Answer] = {}
        self.asked: list[tuple[str, Mapping[str, str]]] = []
        """Path and headers of each request."""
        self.closed = threading.Event()
        self.url = ""

    @property
    def paths(self) -> list[str]:
        """Of the requests so far."""
        return [path for path, _ in self.asked]


@contextmanager
def website() -> Iterator[Website]:
    """A site at a port of its own."""
    site = Website()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append((self.path, dict(self.headers.items())))
            answer = site.pages.get(self.path, Answer(b"There is nothing.", status=404))
            headers = {"Content-Type": answer.type, **answer.headers}
            is_same = self.headers.get("If-None-Match", "") == headers.get("ETag")
            self.send_response(304 if is_same else answer.status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(b"" if is_same else answer.body)
                while answer.endless and not site.closed.wait(0.05):
                    self.wfile.write(b"x")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield site
        finally:
            site.closed.set()
            server.shutdown()
