"""Requests to the server."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

_SILENCE = 60.0
"""Seconds of silence after which a stream is broken; there are heartbeats in it."""
_BROKEN = (OSError, ValueError, http.client.HTTPException)
"""What reading an answer raises that is cut off, or is none; the last is no OSError."""


class Unreachable(Exception):
    """The server cannot be reached, or is busy: ask again."""


class Refused(Exception):
    """The server refuses the request."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Api:
    """Requests under one path, with one token."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
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
        type = ""
        try:
            with self._open(path, None, "", _SILENCE) as response:
                for line in response:
                    if line.startswith(b"event:"):
                        type = line[6:].strip().decode()
                    elif line.startswith(b"data:"):
                        yield type, json.loads(line[5:])
        except _BROKEN as error:
            raise Unreachable(str(error)) from error

    def _send(self, path: str, body: bytes | None, type: str, timeout: float) -> Any:
        try:
            with self._open(path, body, type, timeout) as response:
                return json.loads(response.read())
        except _BROKEN as error:
            raise Unreachable(str(error)) from error

    def _open(self, path: str, body: bytes | None, type: str, timeout: float) -> Any:
        headers = {**self._headers, "Content-Type": type} if type else self._headers
        request = urllib.request.Request(self.url + path, body, headers)  # noqa: S310  an operator's URL
        try:
            return urllib.request.urlopen(request, timeout=timeout)  # noqa: S310
        except urllib.error.HTTPError as error:
            with error:
                detail = _detail(error)
            if error.code == 429 or error.code >= 500:
                raise Unreachable(detail) from error
            raise Refused(error.code, detail) from error


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (*_BROKEN, KeyError, TypeError):
        return f"the server answered {error.code}"
