"""Answers: JSON by orjson, compressed where it pays, with headers that keep browsers safe."""

from __future__ import annotations

import gzip
from typing import Any

import orjson
from flask import Flask, Response, request
from flask.json.provider import JSONProvider

from runtime.model import Json

_COMPRESSED_FROM = 2048
"""Bytes under which compression costs more than it saves."""

_COMPRESSED_TYPES = ("application/json", "text/html", "text/markdown", "text/css", "text/javascript")

_SAFE = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


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
    response.headers["Cache-Control"] = "private, no-cache"
    return response.make_conditional(request)  # type: ignore[return-value]


def init_app(app: Flask) -> None:
    """Make the app's answers like this."""
    app.json = OrjsonProvider(app)
    app.after_request(_finished)


def _finished(response: Response) -> Response:
    for name, value in _SAFE.items():
        response.headers.setdefault(name, value)
    if request.path.startswith("/api/"):
        response.headers.setdefault("Cache-Control", "no-store")
    return _compressed(response)


def _compressed(response: Response) -> Response:
    if response.mimetype not in _COMPRESSED_TYPES or response.is_streamed or response.direct_passthrough:
        return response
    response.vary.add("Accept-Encoding")
    if not request.accept_encodings.quality("gzip") or "Content-Encoding" in response.headers:
        return response
    body = response.get_data()
    if len(body) >= _COMPRESSED_FROM:
        response.set_data(gzip.compress(body, 4, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
    return response
