"""The id of a request: for its records in the log, its response and its problem document.

A proxy in front may have given it one, which is kept, so that both logs name the request alike.
"""

from __future__ import annotations

import re
import secrets

from flask import Flask, Response, g, has_request_context, request

from runtime import logs

HEADER = "X-Request-ID"
_SANE = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}", re.ASCII)
"""What may go into a log and a header as it is."""
_NAMES = ("thread_id", "run_id", "worker_id")
"""Parts of a path that records name."""


def init_app(app: Flask) -> None:
    """Give every request of ``app`` an id, before anything else looks at it."""
    app.before_request(_begin)
    app.after_request(_answer)


def request_id() -> str:
    """The id of this request; a new one for what never became a request."""
    if not has_request_context():
        return _new()
    if "request_id" not in g:
        given = request.headers.get(HEADER, "")
        g.request_id = given if _SANE.fullmatch(given) else _new()
    found: str = g.request_id
    return found


def _begin() -> None:
    """The records of the greenlet are about this request from now on: a connection has one after another."""
    in_path = {name: value for name, value in (request.view_args or {}).items() if name in _NAMES}
    logs.begin(request_id=request_id(), **in_path)


def _answer(response: Response) -> Response:
    response.headers[HEADER] = request_id()
    return response


def _new() -> str:
    return secrets.token_hex(16)
