"""A service that answers with a greeting: ``python example_worker.py`` serves it on port 9000."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Service(BaseHTTPRequestHandler):
    """The run is the body of the request; each line of the answer is an event."""

    def do_POST(self) -> None:
        """Answer one run."""
        run = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.end_headers()
        self._send({"type": "delta", "text": f"{run['config']['greeting']}! "})
        self._send({"type": "delta", "text": f"You said: {run['messages'][-1]['content']}"})
        self._send({"type": "done"})

    def _send(self, event: dict[str, Any]) -> None:
        self.wfile.write(json.dumps(event).encode() + b"\n")


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", 9000), Service).serve_forever()
