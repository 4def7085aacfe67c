"""Requests to the Worker API, which a run makes with its token."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException, HTTPResponse
from typing import Any, cast

from .errors import Failure

NO_SERVER = "no-server"
"""In place of a run's token, where a worker is executed without a server."""
_SECONDS = 60.0
"""Without a byte, after which a transfer has failed."""
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
        return cast(HTTPResponse, urllib.request.urlopen(asked, timeout=_SECONDS))  # noqa: S310
    except urllib.error.HTTPError as error:
        with error:
            raise Failure(_detail(error), retryable=error.code in (429, 502, 503, 504)) from error
    except _BROKEN as error:
        raise Failure(f"The API at {api} could not be reached: {error}", retryable=True) from error


def _detail(error: urllib.error.HTTPError) -> str:
    """What the API says went wrong."""
    try:
        return str(json.load(error)["detail"])
    except (*_BROKEN, ValueError, KeyError, TypeError):
        return f"The API answered {error.code}."
