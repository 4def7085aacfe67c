"""The dialect of an agents service, as the agent chat panel of Archon has it.

A prompt and its context are posted. The answer is Server-Sent Events, each ``data:`` line of which is
JSON with ``content``, a piece of the text. ``[DONE]`` completes it, and so does the end of a body that
says by itself where it ends; any other end is a cut. Errors have the texts that clients of that panel
know. What was said before an error is kept, and only where nothing was said is the run tried again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx

from runtime.child.http_answer import (
    RETRYABLE,
    SERVER_SENT_EVENTS,
    UNREACHABLE,
    Failure,
    beginning,
    media_type,
    reason_of,
    retry_after,
)
from runtime.registry.manifest import HttpRules
from runtime.sdk.protocol import MAX_LINE

_END = b"[DONE]"
_DONE = b'{"type":"done"}\n'
_AWAY = 503
"""The status of a service that nobody reaches, as a proxy before it would say."""


class AgentService:
    """One prompt and its answer."""

    accept = SERVER_SENT_EVENTS
    pushes = False

    def __init__(self, url: str, rules: HttpRules) -> None:
        self._url = url
        self._rules = rules
        self._has_spoken = False

    def request(self, line: bytes) -> bytes:
        """``{prompt, context}``: what the user has said since the last answer, and the run's ``args``."""
        run = json.loads(line)
        context = {} if run.get("args") is None else run["args"]
        return json.dumps({"prompt": _prompt(run["messages"]), "context": context}).encode()

    def lines(self, response: httpx.Response) -> Iterator[bytes]:
        """The text as it comes, and how the answer ended."""
        if problem := self._problem_of(response):
            yield problem.encode()
            return
        for event, data in _data_lines(response.iter_bytes()):
            if data.strip() == _END:
                yield _DONE
                return
            said = _decoded(data)
            if (error := _error_in(event, said, data)) is not None:
                yield Failure(f"Agent service error: {error}").encode()
                return
            if isinstance(said, dict) and isinstance(said.get("content"), str):
                self._has_spoken = self._has_spoken or bool(said["content"])
                yield json.dumps({"type": "delta", "text": said["content"]}).encode() + b"\n"
        yield _DONE if _says_its_end(response) else self._cut("it ended without [DONE]").encode()

    def failure_of(self, error: Exception) -> Failure:
        """The service was not reached, fell silent, or was cut off."""
        detail = f"POST {self._url}: {reason_of(error)}"
        if isinstance(error, UNREACHABLE):
            return Failure(f"Agent service error: {_AWAY}", retryable=True, detail=detail)
        if isinstance(error, httpx.TimeoutException):
            return Failure("Agent response timeout", retryable=not self._has_spoken, detail=detail)
        return self._cut(reason_of(error))

    def _cut(self, why: str) -> Failure:
        message = "Agent service error: the answer was cut off"
        return Failure(message, retryable=not self._has_spoken, detail=f"POST {self._url}: {why}")

    def _problem_of(self, response: httpx.Response) -> Failure | None:
        """Why what came is no answer; None if it is one. Reads a body that is none."""
        status, type = response.status_code, media_type(response)
        if status == httpx.codes.OK and type == SERVER_SENT_EVENTS:
            return None
        came = f"POST {self._url}: {status} ({type or 'no content type'}): {beginning(response)}"
        what = f"{status}" if status != httpx.codes.OK else f"its answer is no {SERVER_SENT_EVENTS}"
        return Failure(f"Agent service error: {what}", status in RETRYABLE, retry_after(response), came)


def _prompt(messages: list[dict[str, Any]]) -> str:
    """The texts of the user's newest messages that stand together; usually that is one."""
    newest: list[str] = []
    for message in reversed(messages):
        if message["role"] == "user":
            newest.insert(0, message["content"])
        elif newest:
            break
    return "\n\n".join(newest)


def _data_lines(chunks: Iterator[bytes]) -> Iterator[tuple[str, bytes]]:
    """The type of the event, and the data, of each ``data:`` line. Raises httpx.DecodingError."""
    event = ""
    for line in _split(chunks):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not line:
            event = ""
        elif field == b"event":
            event = value.decode("utf-8", "replace")
        elif field == b"data":
            yield event, value


def _split(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Lines, without their breaks. The last one counts without its break as well."""
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        if b"\n" in chunk:
            *lines, last = rest.split(b"\n")
            yield from (bytes(line.removesuffix(b"\r")) for line in lines)
            rest = last
        if len(rest) > MAX_LINE:
            raise httpx.DecodingError(f"a line has more than {MAX_LINE} bytes")
    if rest:
        yield bytes(rest)


def _decoded(data: bytes) -> Any:
    """The JSON of a line; None where it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _error_in(event: str, said: Any, data: bytes) -> str | None:
    """What an error says, where a line is one: by its event, its ``type`` or its ``error``."""
    fields = said if isinstance(said, dict) else {}
    error = fields.get("error")
    if not error and event != "error" and fields.get("type") != "error":
        return None
    if isinstance(error, dict):
        error = error.get("message")
    for text in (error, fields.get("message"), fields.get("content")):
        if isinstance(text, str) and text:
            return text
    return data.decode("utf-8", "replace")


def _says_its_end(response: httpx.Response) -> bool:
    """Whether the end of the body is its own, and not just that of the connection."""
    return "content-length" in response.headers or "transfer-encoding" in response.headers
