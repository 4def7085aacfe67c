"""Responses: JSON by orjson, compressed where it pays, with security headers for browsers.

No header here is about the connection, so that HTTP/2 can carry them all.
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
from runtime.system.greenlets import ThreadPool

_COMPRESSED_FROM = 2048
"""Bytes below which compressing costs more than it saves."""

_LEVEL = 1
"""gzip's level. Level 4 needs 60 % more time and makes a history 5 % smaller."""

_LARGE = 256 * 1024
"""Bytes from which on a body is compressed in a thread: 16 MB need over 0.1 s, in which nobody else
would be answered."""
_threads = ThreadPool(2)

_COMPRESSED_TYPES = ("application/json", "text/html", "text/markdown", "text/css", "text/javascript")

_SECURITY_HEADERS = (
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
"""What every response has, unless it sets the header itself."""

_TLS_ONLY = ("Strict-Transport-Security", "max-age=31536000")


class OrjsonProvider(JSONProvider):
    """``flask.json`` by orjson."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Serialise. The keyword arguments of the standard library's json are ignored."""
        return orjson.dumps(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Parse."""
        return orjson.loads(s)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """What ``jsonify`` returns."""
        return json_response(self._prepare_response_obj(args, kwargs))


def json_response(body: Json, status: int = 200, **headers: str) -> Response:
    """``body`` as JSON; underscores in the names of ``headers`` stand for hyphens."""
    response = Response(orjson.dumps(body), status, mimetype="application/json")
    for name, value in headers.items():
        response.headers[name.replace("_", "-")] = value
    return response


def no_content() -> Response:
    """204: done, without a body."""
    return Response(status=204)


def with_etag(response: Response) -> Response:
    """``response`` with a tag of its body; 304 where the client has the same already."""
    response.add_etag(weak=True)
    return _conditional(response)


def unless_known(tag: str, make: Callable[[], Response]) -> Response:
    """What ``make`` returns, with ``tag``; 304 without calling it where the client has that tag already."""
    known = request.if_none_match.contains_weak(tag)
    response = Response(status=304) if known else make()
    response.set_etag(tag, weak=True)
    return _conditional(response)


def init_app(app: Flask, tls_only: bool) -> None:
    """Finish the app's responses like this. ``tls_only``: have browsers use TLS from then on (HSTS)."""
    app.json = OrjsonProvider(app)
    app.after_request(partial(_finish, (*_SECURITY_HEADERS, _TLS_ONLY) if tls_only else _SECURITY_HEADERS))


def _conditional(response: Response) -> Response:
    response.headers["Cache-Control"] = "private, no-cache"
    response.vary.add("Accept-Encoding")
    return response.make_conditional(request)  # type: ignore[return-value]


def _finish(defaults: Sequence[tuple[str, str]], response: Response) -> Response:
    present = {name.lower() for name, _ in response.headers}
    response.headers.extend([(name, value) for name, value in defaults if name.lower() not in present])
    return _compressed(response)


def _compress(body: bytes) -> bytes:
    return gzip.compress(body, _LEVEL, mtime=0)


def _compressed(response: Response) -> Response:
    # The cheap checks come first: most responses are small.
    if response.direct_passthrough or response.is_streamed:
        return response
    body = response.get_data()
    if len(body) < _COMPRESSED_FROM or response.mimetype not in _COMPRESSED_TYPES:
        return response
    response.vary.add("Accept-Encoding")
    if request.accept_encodings.quality("gzip"):
        response.set_data(_threads.call(_compress, body) if len(body) > _LARGE else _compress(body))
        response.headers["Content-Encoding"] = "gzip"
    return response
