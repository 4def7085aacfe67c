"""Which pages of other origins may call the API: those of PANEL_ORIGINS, with a bearer token.

A browser asks before such a page sends a token (the preflight of CORS), and shows it no answer
that does not name its origin. Cookies are never allowed, so a page has what its token may, and
nothing of whoever is signed in here. To sign in, to register or to change a password is for our
own pages: those of other sites are given tokens, not passwords.
"""

from __future__ import annotations

from collections.abc import Iterable

from flask import Flask, Response, request

_METHODS = "GET, HEAD, POST, PATCH, DELETE"
_SENT = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Request-ID"
_SHOWN = "Content-Disposition, ETag, Location, Retry-After, WWW-Authenticate, X-Request-ID"
_REMEMBERED = 600
"""Seconds for which a browser need not ask again."""


class Origins:
    """The origins whose pages may call the API."""

    def __init__(self, allowed: Iterable[str]) -> None:
        """``allowed``: as browsers send them, ``https://app.example.com``."""
        self._allowed = frozenset(allowed)

    def init_app(self, app: Flask) -> None:
        """Answer preflights, and mark the answers that these pages may read."""
        app.before_request(self._answer_preflight)
        app.after_request(self._mark)

    def _answer_preflight(self) -> Response | None:
        """Say what may be sent. A preflight has no credentials, and so does nothing."""
        if request.method != "OPTIONS" or not self._are_asked_for():
            return None
        if "Access-Control-Request-Method" not in request.headers:
            return None
        response = Response(status=204)
        response.headers["Access-Control-Allow-Methods"] = _METHODS
        response.headers["Access-Control-Allow-Headers"] = _SENT
        response.headers["Access-Control-Max-Age"] = str(_REMEMBERED)
        return response

    def _mark(self, response: Response) -> Response:
        if _is_shared():
            response.vary.add("Origin")
        if self._are_asked_for():
            response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
            response.headers["Access-Control-Expose-Headers"] = _SHOWN
        return response

    def _are_asked_for(self) -> bool:
        return _is_shared() and request.headers.get("Origin") in self._allowed


def _is_shared() -> bool:
    """Whether the address is one that pages of other origins may call."""
    return request.path.startswith("/api/") and not request.path.startswith("/api/auth/")
