"""Answers: JSON by orjson, compressed where it pays, with headers that keep browsers safe.

No header here speaks of the connection, so that they suit HTTP/2 as well.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import orjson
from flask import Flask, Response, request
from flask.json.provider import JSONProvider

from runtime.model import Json

_COMPRESSED_FROM = 2048
"""Bytes under which compression costs more than it saves."""

_LEVEL = 1
"""Of gzip: level 4 takes 60 % longer for 5 % less of a history."""

_COMPRESSED_TYPES = ("application/json", "text/html", "text/markdown", "text/css", "text/javascript")

_SAFE = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ("Cache-Control", "no-store"),
)
"""What every answer has that does not say otherwise itself."""

_TLS_ONLY = ("Strict-Transport-Security", "max-age=31536000")


class OrjsonProvider(JSONProvider):
    """``flask.json`` by orjson."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Serialise; keyword arguments of the standard library mean nothing here."""
        return orjson.dumps(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Parse."""
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """What ``jsonify`` returns."""
        return answer(self._prepare_response_obj(args, kwargs))


def answer(body: Json, status: int = 200, **headers: str) -> Response:
    """``body`` as JSON; underscores in the names of ``headers`` stand for hyphens."""
    response = Response(orjson.dumps(body), status, mimetype="application/json")
    for name, value in headers.items():
        response.headers[name.replace("_", "-")] = value
    return response


def empty() -> Response:
    """Done, and there is nothing to say."""
    return Response(status=204)


def tagged(response: Response) -> Response:
    """``response``, or 304 where the client has the same already."""
    response.add_etag(weak=True)
    return _conditional(response)


def tagged_by(tag: str, make: Callable[[], Response]) -> Response:
    """What ``make`` gives, or 304, without making it, where the client has what ``tag`` stands for."""
    known = request.if_none_match.contains_weak(tag)
    response = Response(status=304) if known else make()
    response.set_etag(tag, weak=True)
    return _conditional(response)


def init_app(app: Flask, tls_only: bool) -> None:
    """Make the app's answers like this; ``tls_only``: browsers shall not come without TLS again."""
    app.json = OrjsonProvider(app)
    app.after_request(partial(_finished, (*_SAFE, _TLS_ONLY) if tls_only else _SAFE))


def _conditional(response: Response) -> Response:
    response.headers["Cache-Control"] = "private, no-cache"
    response.vary.add("Accept-Encoding")
    return response.make_conditional(request)  # type: ignore[return-value]


def _finished(wanted: Sequence[tuple[str, str]], response: Response) -> Response:
    given = {name.lower() for name, _ in response.headers}
    response.headers.extend([(name, value) for name, value in wanted if name.lower() not in given])
    return _compressed(response)


def _compressed(response: Response) -> Response:
    # The cheap questions first: most answers are small.
    if response.direct_passthrough or response.is_streamed:
        return response
    body = response.get_data()
    if len(body) < _COMPRESSED_FROM or response.mimetype not in _COMPRESSED_TYPES:
        return response
    response.vary.add("Accept-Encoding")
    if request.accept_encodings.quality("gzip"):
        response.set_data(gzip.compress(body, _LEVEL, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
    return response
