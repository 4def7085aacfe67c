"""Requests to the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..problems import by_another, problem_of
from .connections import BROKEN, Connections

_SILENCE = 60.0
"""Seconds of silence after which a stream is broken; there are heartbeats in it."""
_FOR_THE_MOMENT = (408, 425, 429)
"""Statuses by which the server refuses what it may take later; so are all from 500 on."""


class Unreachable(Exception):
    """The server cannot be reached, or is busy, or something else has answered for it: ask again."""


class Intercepted(Unreachable):
    """Something in between has answered for the server."""


class Refused(Exception):
    """The server refuses the request."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Api:
    """Requests below one path, with one token."""

    def __init__(self, server: Connections, path: str, token: str) -> None:
        self.url = f"{server.url}{path}"
        self._server = server
        self._path = path
        self._headers = {"Authorization": f"Bearer {token}", "User-Agent": "branchline-remote"}

    def get(self, path: str, timeout: float) -> Any:
        """The answer as JSON. Raises Unreachable, Refused."""
        return self._send(path, None, "", timeout)

    def post(self, path: str, body: Any, timeout: float) -> Any:
        """Send JSON. Raises Unreachable, Refused."""
        return self._send(path, json.dumps(body).encode(), "application/json", timeout)

    def post_lines(self, path: str, lines: list[bytes], timeout: float) -> Any:
        """Send lines of JSON. Raises Unreachable, Refused."""
        return self._send(path, b"\n".join(lines), "application/x-ndjson", timeout)

    def events(self, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The events of a stream: the type and the data of each. Raises Unreachable, Refused."""
        type, status, content, location = "", 0, b"", None
        try:
            with self._server.ask("GET", self._path + path, None, self._headers, _SILENCE) as response:
                status = response.status
                if status >= 300:
                    location = response.headers["Location"]
                    content = response.read()
                for line in response:
                    if line.startswith(b"event:"):
                        type = line[6:].strip().decode()
                    elif line.startswith(b"data:"):
                        yield type, json.loads(line[5:])
        except (*BROKEN, ValueError) as error:
            if status < 300:
                raise Unreachable(str(error)) from error
        if status >= 300:
            raise _refusal(status, content, location)

    def _send(self, path: str, body: bytes | None, type: str, timeout: float) -> Any:
        headers = {**self._headers, "Content-Type": type} if type else self._headers
        method, status, content, location = "GET" if body is None else "POST", 0, b"", None
        try:
            with self._server.ask(method, self._path + path, body, headers, timeout) as response:
                status, location = response.status, response.headers["Location"]
                content = response.read()
            if status < 300:
                return json.loads(content)
        except (*BROKEN, ValueError) as error:
            if status < 300:
                raise Unreachable(str(error)) from error
        raise _refusal(status, content, location)


def _refusal(status: int, content: bytes, location: str | None) -> Unreachable | Refused:
    """What an answer that is none means, whose content may be cut off."""
    problem = problem_of(status, content)
    if problem is None:
        return Intercepted(by_another(status, location))
    for_the_moment = status in _FOR_THE_MOMENT or status >= 500
    return Unreachable(problem) if for_the_moment else Refused(status, problem)
