"""Problem documents (RFC 9457): how the Thread API and the Worker API answer an error."""

from __future__ import annotations

import logging
from typing import Any

import orjson
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from runtime.errors import FieldError, RequestError, Unavailable
from web.http.errors import ErrorDescription, describe, describe_status
from web.http.request_ids import HEADER, request_id

log = logging.getLogger(__name__)

MAX_FIELDS = 100
"""Fields that one document names at most; a body may have a million that are wrong."""


def init_app(app: Flask) -> None:
    """Answer every error of the app with a problem document."""
    app.register_error_handler(RequestError, _answer)
    app.register_error_handler(Unavailable, _answer)
    app.register_error_handler(HTTPException, answer_http_error)
    app.register_error_handler(Exception, _answer_unexpected)


def problem(error: ErrorDescription) -> Response:
    """The problem document of ``error``. The last part of its ``type`` is the error's code."""
    body: dict[str, Any] = {
        "type": f"urn:branchline:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "request_id": request_id(),
    }
    if error.fields:
        body["errors"] = [_field(field) for field in error.fields[:MAX_FIELDS]]
    response = Response(orjson.dumps(body), error.status, mimetype="application/problem+json")
    for name, value in error.headers.items():
        response.headers[name] = value
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def answer(error: Exception) -> Response:
    """The problem document of any error; one that is nobody's is logged."""
    if isinstance(error, RequestError | Unavailable | HTTPException):
        return _answer(error)
    return _answer_unexpected(error)


def raw_problem(status: int, reason: str, detail: str) -> bytes:
    """A whole HTTP/1.1 response for a request so malformed that no app sees it."""
    response = problem(describe_status(status, reason, detail))
    response.headers["Connection"] = "close"
    response.headers[HEADER] = orjson.loads(response.get_data())["request_id"]
    head = "".join(f"{name}: {value}\r\n" for name, value in response.headers)
    return f"HTTP/1.1 {response.status}\r\n{head}\r\n".encode("latin-1") + response.get_data()


def answer_http_error(error: HTTPException) -> Any:
    """A problem document for what Flask and werkzeug raise; a redirect stays as it is."""
    return error if (error.code or 500) < 400 else problem(describe(error))


def _answer(error: Exception) -> Response:
    return problem(describe(error))


def _answer_unexpected(error: Exception) -> Response:
    log.exception("%s %s failed", request.method, request.path, exc_info=error)
    return problem(describe(error))


def _field(error: FieldError) -> dict[str, str]:
    return {
        "path": ".".join(str(part) for part in error.path),
        "pointer": "".join(f"/{_escaped(part)}" for part in error.path),
        "message": error.message,
    }


def _escaped(part: str | int) -> str:
    """One part of a JSON pointer (RFC 6901, section 3)."""
    return str(part).replace("~", "~0").replace("/", "~1")
