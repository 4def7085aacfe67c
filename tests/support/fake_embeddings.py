"""An embeddings endpoint on this machine, whose vectors say which of some things a text is about."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MEANINGS = (
    ("cat", "cats", "feline", "kitten", "purr"),
    ("dog", "dogs", "canine", "bark"),
    ("food", "eats", "eat", "nourishment", "diet"),
    ("postman", "mail", "courier"),
    ("town", "city", "municipality"),
)
"""Words that mean the same: a direction each."""
_OTHER = 0.05
"""How long a text is in the direction that all have."""


class FakeEmbeddings:
    """Answers as OpenAI's endpoint does, notes requests, and fails as it is told."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.retry_after: str | None = None
        self.refused: tuple[str, ...] = ()
        """Texts that have one of these are refused, with this status."""
        self.refusal = 400
        self.sent: bytes | None = None
        """What is answered instead of vectors."""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fake.requests.append({"path": self.path, **request})
                fake.headers.append({name.lower(): value for name, value in self.headers.items()})
                status, body = fake._answer(request)
                self.send_response(status)
                if fake.retry_after is not None and status != 200:
                    self.send_header("Retry-After", fake.retry_after)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def texts(self) -> list[str]:
        """All that were sent, in order."""
        return [text for request in self.requests for text in request["input"]]

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: dict[str, Any]) -> tuple[int, bytes]:
        texts = request["input"]
        if self.status != 200:
            return self.status, b"{}"
        if any(word in text for text in texts for word in self.refused):
            return self.refusal, b'{"error": {"message": "too long"}}'
        if self.sent is not None:
            return 200, self.sent
        # Not in their order, which no client may rely on.
        data = [{"index": at, "embedding": vector(text)} for at, text in enumerate(texts)][::-1]
        return 200, json.dumps({"object": "list", "data": data}).encode()


def vector(text: str) -> list[float]:
    """How often a text has words of each meaning."""
    words = [word.strip(".,?!") for word in text.lower().split()]
    return [float(sum(word in meaning for word in words)) for meaning in MEANINGS] + [_OTHER]
