"""The service behind the worker: ``python service.py [PORT]``. It needs the standard library only.

A pool posts each run, and is answered with lines of the protocol while the service is at it. Where the
pool hangs up the run has ended, and so does the answer.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Iterator
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import Request, urlopen

Event = dict[str, Any]


def answer(run: dict[str, Any], authorization: str) -> Iterator[Event]:
    """The events of one run. ``authorization``: the header that the pool has sent with it."""
    asked = [message for message in run["messages"] if message["role"] == "user"]
    yield {"type": "step", "description": "Repeating"}
    for word in asked[-1]["content"].split(" ") if asked else ():
        yield {"type": "delta", "text": word + " "}
        time.sleep(run["config"]["pause"])
    for file in asked[-1].get("files", ()) if asked else ():
        yield {"type": "step", "description": f"Reading {file['name']}"}
        try:
            content = read(file, authorization)
        except (OSError, HTTPException) as error:  # the last where the answer is cut off
            reason = f"The file {file['name']} could not be read: {error}"
            yield {"type": "error", "message": reason, "retryable": True}
            return
        digest = hashlib.sha256(content).hexdigest()
        yield {"type": "delta", "text": f"\n{file['name']}: {len(content)} bytes, SHA-256 {digest}"}
    yield {"type": "done"}


def read(file: dict[str, Any], authorization: str) -> bytes:
    """The content of a file that a message names: it is fetched, for as long as the run lasts."""
    request = Request(file["url"], headers={"Authorization": authorization})  # noqa: S310  the pool gave it
    with urlopen(request, timeout=60) as response:  # noqa: S310
        return bytes(response.read())


class Service(BaseHTTPRequestHandler):
    """The run is the body of the request; each line of the answer is an event."""

    def do_POST(self) -> None:
        """Answer one run."""
        run = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.end_headers()
        try:
            for event in answer(run, self.headers["Authorization"]):
                self.wfile.write(json.dumps(event).encode() + b"\n")
        except ConnectionError:
            self.log_message("the run %s has ended", run["run"]["id"])


def main(port: int) -> None:
    """Serve until it is interrupted."""
    with ThreadingHTTPServer(("127.0.0.1", port), Service) as server:
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9000)
