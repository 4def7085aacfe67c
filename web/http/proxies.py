"""The client's address where proxies are in front, as the last of those that are trusted saw it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.middleware.proxy_fix import ProxyFix

from web.http.addresses import address_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class TrustedProxies:
    """An application behind ``number`` proxies, each of which appends to X-Forwarded-For and -Proto.

    Some write the client's port behind its address. ``REMOTE_ADDR`` is the address alone;
    where they wrote no address at all it is that of the nearest proxy, never their text.
    """

    def __init__(self, app: WSGIApplication, number: int) -> None:
        self._app = app
        self._fixed = ProxyFix(self._with_address, x_for=number, x_proto=number)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, as WSGI has it."""
        return self._fixed(environ, start_response)

    def _with_address(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        peer = environ["werkzeug.proxy_fix.orig"]["REMOTE_ADDR"]
        environ["REMOTE_ADDR"] = address_of(environ.get("REMOTE_ADDR") or "") or peer
        return self._app(environ, start_response)
