"""Errors as problem documents (RFC 9457): one clear answer, with the paths of the fields.

Views raise the errors of :mod:`runtime.errors`; nobody else spells a status code
of a failure.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from runtime import errors
from runtime.errors import FieldError

log = logging.getLogger(__name__)

_STATUS: Mapping[type[Exception], tuple[int, str]] = {
    errors.Unauthenticated: (401, "Not signed in"),
    errors.Forbidden: (403, "Forbidden"),
    errors.NotFound: (404, "Not found"),
    errors.Conflict: (409, "Conflict"),
    errors.UnknownWorker: (422, "Unknown worker"),
    errors.WorkerUnavailable: (422, "Worker not available"),
    errors.Invalid: (422, "Invalid input"),
    errors.TooMany: (429, "Too many requests"),
    errors.StoreUnavailable: (503, "Database not available"),
    errors.StreamUnavailable: (503, "Redis not available"),
    errors.Unavailable: (503, "Not available"),
}

MOST_FIELDS = 100
"""Fields that one answer names at most; a body may have a million that are wrong."""

_DETAIL = {
    404: "There is nothing at this address.",
    413: "The request's body is too large.",
}


def init_app(app: Flask) -> None:
    """Answer every failure of the app with a problem document."""
    app.register_error_handler(errors.RequestError, _expected)
    app.register_error_handler(errors.Unavailable, _expected)
    app.register_error_handler(HTTPException, of_http)
    app.register_error_handler(Exception, _unexpected)


def problem(
    status: int, kind: str, title: str, detail: str, fields: tuple[FieldError, ...] = (), **headers: str
) -> Response:
    """A problem document. ``kind`` is the last part of its ``type``."""
    body: dict[str, Any] = {
        "type": f"urn:branchline:problem:{kind}",
        "title": title,
        "status": status,
        "detail": detail,
    }
    if fields:
        body["errors"] = [_field(field) for field in fields[:MOST_FIELDS]]
    response = Response(orjson.dumps(body), status, mimetype="application/problem+json")
    for name, value in headers.items():
        response.headers[name.replace("_", "-")] = value
    return response


def field_errors(messages: Any, path: tuple[str | int, ...] = ()) -> Iterator[FieldError]:
    """marshmallow's nested messages, one error at a time."""
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            yield from field_errors(inner, path if key == "_schema" else (*path, key))
    elif isinstance(messages, list):
        for message in messages:
            yield from field_errors(message, path)
    else:
        yield FieldError(path, str(messages))


def of_http(error: HTTPException) -> Any:
    """What Flask and werkzeug raise themselves: no such route, wrong method, too large ..."""
    status = error.code or 500
    if status < 400:
        return error  # a redirect
    detail = _DETAIL.get(status) or error.description or error.name
    answer = problem(status, _kebab(error.name), error.name, detail)
    for name, value in error.get_headers(request.environ):
        if name not in ("Content-Type", "Content-Length"):
            answer.headers[name] = value
    return answer


def _expected(error: Exception) -> Response:
    kind = next(kind for kind in type(error).__mro__ if kind in _STATUS)
    status, title = _STATUS[kind]
    headers = {}
    if status == 401:
        headers["WWW_Authenticate"] = 'Bearer realm="branchline"'
    if isinstance(error, errors.TooMany | errors.Unavailable):
        headers["Retry_After"] = str(error.retry_after)
    fields = error.errors if isinstance(error, errors.Invalid) else ()
    return problem(status, _kebab(kind.__name__), title, str(error), fields, **headers)


def _unexpected(error: Exception) -> Response:
    log.exception("%s %s failed", request.method, request.path, exc_info=error)
    return problem(
        500, "internal-error", "Internal error", "This is a fault of Branchline; its log says more."
    )


def _field(error: FieldError) -> dict[str, str]:
    return {
        "path": ".".join(str(part) for part in error.path),
        "pointer": "".join(f"/{_escaped(part)}" for part in error.path),
        "message": error.message,
    }


def _escaped(part: str | int) -> str:
    """One part of a JSON pointer (RFC 6901, section 3)."""
    return str(part).replace("~", "~0").replace("/", "~1")


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z])[ -]?(?=[A-Z])|\W+", "-", name).lower().strip("-")
