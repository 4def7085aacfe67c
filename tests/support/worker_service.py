"""A worker that is a web service, answering as its test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any], dict[str, str]], Iterator[bytes]]


class WorkerService:
    """An HTTP server on this machine."""

    def __init__(self) -> None:
        self.status = 200
        self.type = "application/x-ndjson"
        self.answer: Answer = lambda body, headers: iter(())
        """The parts of a response, from the request's body and headers."""
        self.headers: dict[str, str] = {}
        """Further headers of its responses."""
        self.bodies: list[bytes] = []
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.disconnected = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                body = json.loads(content)
                service.bodies.append(content)
                headers = dict(self.headers.items())
                service.requests.append((headers, body))
                self.send_response(service.status)
                self.send_header("Content-Type", service.type)
                for name, value in service.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    for part in service.answer(body, headers):
                        self.wfile.write(part)
                        self.wfile.flush()
                except OSError:
                    service.disconnected.set()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/run"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
