"""What a web service answers to a run: a stream of the protocol, a promise to push it, or neither.

:class:`WorkerProtocol` is one of the dialects that a service may speak; the other one is in
:mod:`runtime.child.agent_service`.
"""

from __future__ import annotations

import codecs
import itertools
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Protocol

import httpx

from runtime.registry.manifest import HttpRules

ACCEPTED = 202
"""The service will push what it has to say, by the Worker API."""
SERVER_SENT_EVENTS = "text/event-stream"
NDJSON = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
)
ACCEPT = f"application/x-ndjson, {SERVER_SENT_EVENTS}"
LONGEST_RETRY_AFTER = 3600.0
"""Seconds that a service may ask to wait."""
_WITH_RETRY_AFTER = (429, 503)
RETRYABLE = (429, 502, 503, 504)
"""Statuses of a service that may answer later."""
UNREACHABLE = (httpx.ConnectError, httpx.ConnectTimeout)
"""Errors of a request that no service has got."""
_SHOWN = 200
"""Characters of an answer that an error shows."""
_ENDS = frozenset({"done", "error", "confirm", "discard"})
_LONGEST_END = 4 << 20
"""Bytes of the longest line that can be the last of a run: a question with its schema."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run has failed, as the protocol says it."""

    message: str
    retryable: bool = False
    retry_after: float | None = None
    """Seconds."""
    detail: str = ""
    """A sentence for the run's log."""

    def encode(self) -> bytes:
        """The line, with a line break before it: what is before may be half a line."""
        fields = {"type": "error", "message": self.message, "retryable": self.retryable}
        if self.retry_after is not None:
            fields["retry_after"] = self.retry_after
        logged = " ".join(self.detail.split()).encode() + b"\n" if self.detail else b""
        return b"\n" + logged + json.dumps(fields).encode() + b"\n"


class Exchange(Protocol):
    """One request to a service and its answer, in the words that the service speaks."""

    accept: str
    """The media types of an answer."""
    pushes: bool
    """Whether the service has accepted the run, and sends its events by the Worker API."""

    def request(self, line: bytes) -> bytes:
        """The body of the request, from the first line of a run."""

    def lines(self, response: httpx.Response) -> Iterator[bytes]:
        """The answer as lines of the worker protocol, in chunks of any size.

        They end with the end of a run, unless the service pushes. Raises httpx.HTTPError.
        """

    def failure_of(self, error: Exception) -> Failure:
        """Why the run has failed whose request raised an error of httpx."""


class WorkerProtocol:
    """A service that speaks the worker protocol itself."""

    accept = ACCEPT

    def __init__(self, url: str, rules: HttpRules) -> None:
        self._url = url
        self._rules = rules
        self.pushes = False

    def request(self, line: bytes) -> bytes:
        """The line as it is."""
        return line

    def lines(self, response: httpx.Response) -> Iterator[bytes]:
        """The answer as it comes, with an error where it has no end of its own."""
        if problem := problem_of(response, self._url):
            yield problem.encode()
            return
        if response.status_code == ACCEPTED:
            self.pushes = True
            return
        last = LastLine()
        for chunk in lines_of(response):
            last.feed(chunk)
            yield chunk
        if not last.ends_run:
            message = f"The worker at {self._url} ended its answer without `done`, so it may be cut off."
            yield Failure(message).encode()

    def failure_of(self, error: Exception) -> Failure:
        """Only where it was not reached is the run tried again: it may have done anything since."""
        if isinstance(error, httpx.ReadTimeout):
            seconds = self._rules.idle_timeout
            return Failure(f"The worker at {self._url} sent nothing for {seconds:g} seconds.")
        unreachable = isinstance(error, UNREACHABLE)
        what = "could not be reached" if unreachable else "broke off its answer"
        return Failure(f"The worker at {self._url} {what}: {reason_of(error)}", retryable=unreachable)


def problem_of(response: httpx.Response, url: str) -> Failure | None:
    """Why what came is no answer of a worker; None if it is one. Reads a body that is none."""
    status, type = response.status_code, media_type(response)
    if status == ACCEPTED or (status in (200, 201) and type in (*NDJSON, SERVER_SENT_EVENTS)):
        return None
    text = beginning(response)
    came = f"{status} ({type or 'no content type'}): {text or 'nothing'}"
    if status >= 300:
        return Failure(f"The worker at {url} answered {came}", status in RETRYABLE, retry_after(response))
    return Failure(
        f"The worker at {url} answered {came} — that is no stream of the worker protocol. "
        f"Have it answer with application/x-ndjson or {SERVER_SENT_EVENTS}, or with 202 and push its events."
    )


def lines_of(response: httpx.Response) -> Iterator[bytes]:
    """The stream as lines, in chunks of any size. Raises httpx.HTTPError."""
    chunks = response.iter_bytes()
    return _data_of(chunks) if media_type(response) == SERVER_SENT_EVENTS else chunks


def media_type(response: httpx.Response) -> str:
    """Its content type, without parameters; empty if it has none."""
    value: str = response.headers.get("content-type", "")
    return value.partition(";")[0].strip().lower()


def retry_after(response: httpx.Response) -> float | None:
    """For how many seconds the service wants to be left alone, if it says so in a form that one can read."""
    value = response.headers.get("retry-after", "").strip()
    if response.status_code not in _WITH_RETRY_AFTER or not value:
        return None
    try:
        seconds = (
            float(value) if value.isdecimal() else parsedate_to_datetime(value).timestamp() - time.time()
        )
    except (ValueError, OverflowError):
        return None
    return float(math.ceil(min(LONGEST_RETRY_AFTER, max(0.0, seconds))))


def reason_of(error: Exception) -> str:
    """What an error of httpx says; its name where it says nothing."""
    return str(error) or type(error).__name__


class LastLine:
    """Follows a stream, and knows whether its last line ends a run."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._complete = False
        """Whether its line break has come."""

    def feed(self, chunk: bytes) -> None:
        """More of the stream."""
        text = chunk.rstrip()
        if text:
            _, newline, last = text.rpartition(b"\n")
            if newline or self._complete or len(self._line) > _LONGEST_END:
                self._line.clear()
            self._line += last
            self._complete = False
        self._complete = self._complete or b"\n" in chunk[len(text) :]

    @property
    def ends_run(self) -> bool:
        """Whether it is ``done``, or what else ends a run."""
        try:
            line = json.loads(self._line)
        except (ValueError, RecursionError):
            return False
        return isinstance(line, dict) and line.get("type") in _ENDS


def beginning(response: httpx.Response) -> str:
    """The first characters of the body, on one line."""
    read = b""
    for chunk in response.iter_bytes():
        read += chunk
        if len(read) >= 4 * _SHOWN:
            break
    return " ".join(read.decode("utf-8", "replace").split())[:_SHOWN]


def _data_of(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The data of Server-Sent Events, a line each; other fields are skipped.

    A byte order mark at their beginning is no part of them, and the last line counts without its break.
    """
    rest = b""
    first = True
    for chunk in itertools.chain(chunks, [b"\n"]):
        *lines, rest = (rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        if first and lines:
            first, lines[0] = False, lines[0].removeprefix(codecs.BOM_UTF8)
        data = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
        if data:
            yield b"\n".join(data) + b"\n"
