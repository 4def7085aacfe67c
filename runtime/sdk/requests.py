"""Requests to the Worker API, which a run makes with its token."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import cache
from http.client import HTTPException, HTTPResponse
from typing import Any, cast
from urllib.parse import urlsplit

from .errors import Failure
from .problems import by_another, problem_of
from .proxies import proxy_of

NO_SERVER = "no-server"
"""In place of a run's token, where a worker is executed without a server."""
_SECONDS = 60.0
"""Without a byte, after which a transfer has failed."""
_FOR_THE_MOMENT = (408, 425, 429, 502, 503, 504)
"""Statuses by which the server refuses what it may take later."""
_AWAY = 30.0
"""Seconds for which a server that is away is asked again; it is started anew in less."""
_PAUSE, _LONGEST_PAUSE = 0.25, 4.0
"""Seconds before it is asked again: the first, doubled each time, and the longest."""
_BROKEN = (OSError, HTTPException)
"""What a request raises that is not answered, or not to its end; the last is no OSError."""


def has_server() -> bool:
    """Whether the worker is executed for a server, and not by a test or in a terminal."""
    return os.environ.get("BRANCHLINE_RUN_TOKEN", NO_SERVER) != NO_SERVER


def read(answer: HTTPResponse, size: int | None = None) -> bytes:
    """The rest of an answer, or up to so many bytes of it. Raises Failure where it is cut off."""
    try:
        return answer.read(size)
    except _BROKEN as error:
        raise Failure(f"The answer of the API was cut off: {error}", retryable=True) from error


def request(path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> HTTPResponse:
    """The answer of the Worker API to a request below the run's own path. Raises Failure."""
    if not has_server():
        raise Failure("There is no server to ask.")
    api, token = os.environ.get("BRANCHLINE_API_URL"), os.environ.get("BRANCHLINE_RUN_TOKEN")
    url = f"{api}/worker/runs/{os.environ.get('BRANCHLINE_RUN_ID', '')}/{path}"
    given = {"Authorization": f"Bearer {token}", **(headers or {})}
    asked = urllib.request.Request(url, body, given, method="POST" if body is not None else "GET")  # noqa: S310 - our own API
    try:
        proxy_of(urlsplit(url))
    except ValueError as error:
        raise Failure(f"The API at {api} cannot be reached: {error}.") from error
    try:
        return cast(HTTPResponse, _opener().open(asked, timeout=_SECONDS))
    except urllib.error.HTTPError as error:
        with error:
            raise _failure(error) from error
    except _BROKEN as error:
        raise Failure(f"The API at {api} could not be reached: {error}", retryable=True) from error


def fetch(path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> bytes:
    """The whole answer to a request as :func:`request` makes it, which does no harm if it is made twice.

    It is made again while the server is away, for half a minute. Raises Failure.
    """
    until, pause = time.monotonic() + _AWAY, _PAUSE
    while True:
        try:
            with request(path, body, headers) as answer:
                return read(answer)
        except Failure as failure:
            if not failure.retryable or time.monotonic() + pause > until:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The server answers where it is asked; another one would be sent the run's token."""

    def redirect_request(self, *_: object) -> None:
        return None


@cache
def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirects)


def _failure(error: urllib.error.HTTPError) -> Failure:
    """What an answer that is none means."""
    problem = problem_of(error.code, _content(error))
    if problem is None:
        detail = by_another(error.code, error.headers["Location"])
        return Failure(f"The API could not be reached: {detail}.", retryable=True)
    return Failure(problem, retryable=error.code in _FOR_THE_MOMENT)


def _content(error: urllib.error.HTTPError) -> bytes:
    try:
        return error.read()
    except _BROKEN:
        return b""
