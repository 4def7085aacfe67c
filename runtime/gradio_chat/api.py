"""The Thread API, asked by the page in the name of one browser."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpx
import orjson

from runtime.errors import Unauthenticated, Unavailable
from runtime.model import Json
from runtime.thread_api.client import refusal, trusted
from runtime.thread_api.streams import EventReader, StreamEvent

_SILENCE = 45.0
"""Seconds without a line after which a stream is given up; the server sends one every 15 s."""


def connections(url: str) -> httpx.AsyncClient:
    """Connections to the web process at ``url``, for all browsers: they keep no cookies."""
    client = httpx.AsyncClient(
        base_url=url,
        timeout=httpx.Timeout(30, connect=5),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=50),
        trust_env=False,
        verify=trusted(),
    )
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return client


async def sign_in(http: httpx.AsyncClient, email: str, password: str) -> str:
    """Begin a login. Returns its token: what a browser has as a cookie, ``name=value``.

    Raises Unauthenticated, Refused, Unavailable.
    """
    answer = await _send(http, "POST", "/api/auth/login", json={"email": email, "password": password})
    if answer.status_code == 401:
        raise Unauthenticated("The email address or the password is wrong.")
    if answer.is_error:
        raise refusal(answer)
    return str(answer.headers.get("Set-Cookie", "")).partition(";")[0]


class Api:
    """What one browser may do, by the token of its login."""

    def __init__(self, http: httpx.AsyncClient, token: str) -> None:
        self._http = http
        self._headers = {"Cookie": token}

    async def get(self, path: str, **query: Json) -> Json:
        """The answer to a GET. Raises Refused, Unauthenticated, Unavailable, as all of these do."""
        return await self._request("GET", path, params=query)

    async def post(self, path: str, body: Json) -> Json:
        """The answer to a POST; the same one however often the request is carried out."""
        content = orjson.dumps(body)
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
        return await self._request("POST", path, content=content, headers=headers)

    async def patch(self, path: str, body: Json) -> Json:
        """The answer to a PATCH."""
        return await self._request("PATCH", path, json=body)

    async def upload(self, path: Path) -> str:
        """Send a file. Returns its id."""
        with path.open("rb") as file:
            answer = await self._request("POST", "/api/files", files={"file": (path.name, file)})
        return str(answer["file"]["id"])

    @asynccontextmanager
    async def content(self, file_id: str, range_: str | None) -> AsyncIterator[httpx.Response]:
        """The content of a file, or a range of it, as the server answers."""
        headers = self._headers | ({"Range": range_} if range_ else {})
        async with self._http.stream("GET", f"/api/files/{file_id}/content", headers=headers) as answer:
            yield answer

    async def events(self, thread_id: str, after: str) -> AsyncIterator[StreamEvent | None]:
        """The events of a thread after a cursor, until the connection ends; None for each sign of life."""
        headers = self._headers | {"Accept": "text/event-stream"}
        timeout = httpx.Timeout(5, read=_SILENCE)
        path = f"/api/threads/{thread_id}/events"
        try:
            async with self._http.stream(
                "GET", path, params={"after": after}, headers=headers, timeout=timeout
            ) as answer:
                if answer.is_error:
                    await answer.aread()
                    raise refusal(answer)
                reader = EventReader()
                async for line in answer.aiter_lines():
                    if line.startswith(":"):
                        yield None
                    elif event := reader.feed(line):
                        yield event
        except httpx.TransportError as error:
            raise Unavailable(f"The stream was interrupted ({error}).") from error

    async def _request(self, method: str, path: str, **more: Any) -> Json:
        headers = self._headers | more.pop("headers", {})
        answer = await _send(self._http, method, path, headers=headers, **more)
        if answer.status_code == 401:
            raise Unauthenticated("You are signed out. Load the page again to sign in.")
        if answer.is_error:
            raise refusal(answer)
        return orjson.loads(answer.content) if answer.content else None


async def _send(http: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
    try:
        return await http.request(method, path, **more)
    except httpx.TransportError as error:
        raise Unavailable(f"Branchline does not answer at {http.base_url} ({error}).") from error
