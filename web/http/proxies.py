"""The client's address where proxies are in front, as the last of those that are trusted saw it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from werkzeug.middleware.proxy_fix import ProxyFix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_WITH_PORT = re.compile(r'"?(?:\[(?P<v6>[^\]]+)\]|(?P<v4>[0-9.]+))(?::\w+)?"?', re.ASCII)


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


def address_of(text: str) -> str | None:
    """The IP address in ``text``: alone, in brackets, or with a port; None if there is none."""
    found = _WITH_PORT.fullmatch(text.strip())
    try:
        address = ipaddress.ip_address((found["v6"] or found["v4"]) if found else text.strip())
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)
