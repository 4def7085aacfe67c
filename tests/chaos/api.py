"""The HTTP client of the load: it falls over between web processes and asks again, as programs do."""

from __future__ import annotations

import itertools
import random
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from runtime.testing.sse import Received, parse
from tests.chaos.ledger import Ledger, ServerError

TIMEOUT = 6.0
"""Seconds that a web process may take to answer, or a stream may be silent."""
GIVE_UP_AFTER = 120.0
"""Seconds after which a request that nobody has answered counts as lost."""

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Shared and empty, where each client would read all certificates of the machine."""


class Unanswered(Exception):
    """No web process has answered in all that time."""


class Api:
    """One user, at any of several web processes."""

    def __init__(self, bases: Sequence[str], ledger: Ledger, token: str = "", seed: int = 0) -> None:
        self._bases = itertools.cycle(random.Random(seed).sample(bases, len(bases)))
        self._ledger = ledger
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(timeout=TIMEOUT, headers=headers, verify=_NO_TLS, trust_env=False)
        self._base = next(self._bases)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        key: str | None = None,
        note: Callable[[str], None] = lambda _: None,
    ) -> httpx.Response:
        """Send it until it is answered by something else than 503.

        Raises Unanswered, and Refused for any other 5xx.
        What was sent before may have been carried out: ``key`` is its Idempotency-Key.
        """
        headers = {"Idempotency-Key": key} if key else {}
        deadline = time.monotonic() + GIVE_UP_AFTER
        while time.monotonic() < deadline:
            try:
                answer = self._client.request(method, self._base + path, json=body, headers=headers)
            except httpx.TransportError as error:
                note(f"{method} {path} at {self._base}: no answer ({type(error).__name__})")
                self._ledger.count("requests without an answer")
                self._fall_over()
                continue
            if answer.status_code != 503:
                self._ledger.count("requests")
                if answer.status_code >= 500:
                    raise self._refused(answer)
                return answer
            note(f"{method} {path} at {self._base}: 503 {answer.text[:200]}")
            self._ledger.count("answers 503")
            self._fall_over()
        raise Unanswered(f"{method} {path}: nobody has answered for {GIVE_UP_AFTER:g} s")

    @contextmanager
    def stream(self, path: str, last: str | None) -> Iterator[Iterator[Received] | None]:
        """The events of a stream after ``last``; None where it says that there are no more."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        with self._client.stream("GET", self._base + path, headers=headers) as answer:
            if answer.status_code not in (200, 204):
                raise self._refused(answer)
            yield parse(answer.iter_raw()) if answer.status_code == 200 else None

    @contextmanager
    def stream_of_answer(self, path: str, body: Any, key: str) -> Iterator[Iterator[Received]]:
        """Ask for a run that was accepted already, and to be answered with its stream.

        A 202 says that there is no stream now, as 503 does elsewhere.
        """
        headers = {"Accept": "text/event-stream", "Idempotency-Key": key}
        with self._client.stream("POST", self._base + path, json=body, headers=headers) as answer:
            if answer.status_code != 200:
                raise self._refused(answer)
            yield parse(answer.iter_raw())

    def _refused(self, answer: httpx.Response) -> Refused:
        """What this answer means; one that is a fault of ours is noted."""
        status, text = answer.status_code, answer.read().decode()[:300]
        if status >= 500 and status != 503:
            request = f"{answer.request.method} {answer.request.url}"
            request_id = answer.headers.get("X-Request-ID", "")
            self._ledger.fault_of_ours(ServerError(request, status, request_id, text))
        return Refused(503 if status == 202 else status, text)

    def _fall_over(self) -> None:
        self._base = next(self._bases)
        time.sleep(0.1)

    def go_elsewhere(self) -> None:
        """The next request or stream goes to another web process."""
        self._base = next(self._bases)


class Refused(Exception):
    """A stream was answered with another status than 200, or a request with 5xx."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status = status
