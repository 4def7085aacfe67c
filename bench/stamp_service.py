"""The worker ``stamp`` as a web service, for workers of type ``http``."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class StampService:
    """An HTTP server on this machine, while the ``with`` lasts."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/run"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        args = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["args"]
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.end_headers()
        for _ in range(args["n"]):
            self._say({"type": "delta", "text": f"{time.time():.6f};"})
            time.sleep(args["gap"])
        self._say({"type": "done"})

    def _say(self, event: dict[str, str]) -> None:
        self.wfile.write(json.dumps(event).encode() + b"\n")

    def log_message(self, *_: object) -> None: ...
