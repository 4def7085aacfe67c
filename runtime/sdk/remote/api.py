"""Requests to the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .connections import BROKEN, Connections

_SILENCE = 60.0
"""Seconds of silence after which a stream is broken; there are heartbeats in it."""


class Unreachable(Exception):
    """The server cannot be reached, or is busy: ask again."""


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
        type, status, content = "", 0, b""
        try:
            with self._server.ask("GET", self._path + path, None, self._headers, _SILENCE) as response:
                status = response.status
                if status >= 300:
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
            raise _refusal(status, content)

    def _send(self, path: str, body: bytes | None, type: str, timeout: float) -> Any:
        headers = {**self._headers, "Content-Type": type} if type else self._headers
        method, status, content = "GET" if body is None else "POST", 0, b""
        try:
            with self._server.ask(method, self._path + path, body, headers, timeout) as response:
                status = response.status
                content = response.read()
            if status < 300:
                return json.loads(content)
        except (*BROKEN, ValueError) as error:
            if status < 300:
                raise Unreachable(str(error)) from error
        raise _refusal(status, content)


def _refusal(status: int, content: bytes) -> Unreachable | Refused:
    """What an answer that is none means; its reason may be cut off."""
    try:
        detail = str(json.loads(content)["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"the server answered {status}"
    return Unreachable(detail) if status == 429 or status >= 500 else Refused(status, detail)
