"""A client of the Thread API, as a program that somebody else writes would have it."""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import httpx

from runtime.testing.sse import Received, parse

PASSWORD = "correct horse battery"  # noqa: S105
"""Of every account that is made here."""


@cache
def _trusted() -> ssl.SSLContext:
    """The authorities that httpx brings along; to read them takes longer than most requests."""
    return httpx.create_ssl_context()


class Away(httpx.TransportError):
    """A stream was answered 503: what it needs is away."""


class Client(httpx.Client):
    """What a program does with the Thread API."""

    def __init__(self, url: str, **options: Any) -> None:
        """``options``: further ones of httpx."""
        super().__init__(base_url=url, timeout=30, **{"verify": _trusted(), **options})
        self.headers["Origin"] = f"{self.base_url.scheme}://{self.base_url.netloc.decode()}"

    def register(self) -> None:
        """Make an account with a random address, and keep its cookie."""
        account = {"email": f"{uuid.uuid4()}@example.com", "password": PASSWORD}
        self.post("/api/auth/register", json=account).raise_for_status()

    def sign_in(self, email: str) -> None:
        """Sign in to an account that is there, and keep its cookie."""
        account = {"email": email, "password": PASSWORD}
        self.post("/api/auth/login", json=account).raise_for_status()

    def thread(self, **body: Any) -> dict[str, Any]:
        """A new thread."""
        return self._ok(self.post("/api/threads", json=body))["thread"]  # type: ignore[no-any-return]

    def ask(
        self, thread: dict[str, Any], text: str | None, state: str | None = None, **body: Any
    ) -> dict[str, Any]:
        """Ask a worker; the whole answer of the API."""
        messages = [] if text is None else [{"role": "user", "content": text}]
        request = {
            "worker_id": "echo",
            "input_state_id": state or thread["root_state_id"],
            "messages": messages,
            **body,
        }
        return self._ok(self.post(f"/api/threads/{thread['id']}/runs", json=request))

    def run(self, run: dict[str, Any]) -> dict[str, Any]:
        """The run as it is."""
        return self._ok(self.get(f"/api/runs/{run['id']}"))["run"]  # type: ignore[no-any-return]

    def wait(self, run: dict[str, Any], timeout: float = 60) -> dict[str, Any]:
        """The run once it has ended, with its messages."""
        path, params = f"/api/runs/{run['id']}/wait", {"timeout": timeout}
        return self._ok(self.get(path, params=params, timeout=timeout + 10))

    @contextmanager
    def stream(  # type: ignore[override]  # its callers want events, never a response
        self, path: str, after: str | None = None, **params: Any
    ) -> Iterator[Iterator[Received]]:
        """The events of a stream."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        with httpx.Client.stream(self, "GET", path, headers=headers, params=params) as response:
            if response.status_code == 503:
                raise Away(response.read().decode())
            assert response.status_code == 200, (response.status_code, response.read())
            yield parse(response.iter_raw())

    def follow(self, run: dict[str, Any], after: str | None = None) -> list[Received]:
        """All events of a run, to its end."""
        with self.stream(f"/api/runs/{run['id']}/events", after) as events:
            return list(events)

    @staticmethod
    def _ok(response: httpx.Response) -> dict[str, Any]:
        assert response.status_code < 300, (response.status_code, response.text)
        return response.json()  # type: ignore[no-any-return]
