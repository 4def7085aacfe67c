"""The host names that a web process answers to; a request for any other is refused with 421.

A page of another site can have its own name point to 127.0.0.1 (DNS rebinding). The
browser then takes what listens there for a part of that site, so the page may read
every answer. The name that the browser asked for gives it away: it is still the other
site's. An address cannot be made to point elsewhere, so only names are dangerous.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from flask import Flask, request

from runtime.errors import Misdirected
from runtime.settings import Settings

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""What answers to any name: load balancers ask by address, and nothing there is anybody's."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+))(?::[0-9]{0,5})?", re.ASCII | re.IGNORECASE)


class Hosts:
    """The names and addresses of one installation."""

    def __init__(self, names: Iterable[str], any_address: bool = False) -> None:
        """``names`` in lower case; ``.example.com`` stands for that name and all below it.

        ``any_address``: an IP address is accepted too, whichever it is.
        """
        self._names = frozenset(host_of(f"[{name}]") or name for name in names)
        self._domains = tuple(name for name in self._names if name.startswith("."))
        self._any_address = any_address

    @classmethod
    def of(cls, settings: Settings) -> Hosts:
        """Those of BRANCHLINE_WEB_HOSTS and of API_URL, by which the pools reach it.

        Without BRANCHLINE_WEB_HOSTS those of this machine's loopback; where others can reach
        the web process, any address as well, but no further name.
        """
        ours = {host_of(urlsplit(settings.api_url).netloc.rpartition("@")[2]) or "localhost"}
        if settings.web_hosts:
            return cls(ours.union(settings.web_hosts))
        return cls(ours.union(_LOOPBACK), any_address=settings.deployed)

    def __contains__(self, authority: str) -> bool:
        """Whether a ``Host`` header (name or address, perhaps with a port) is one of them."""
        host = host_of(authority)
        if host is None:
            return False
        if self._any_address and _is_address(host):
            return True
        return host in self._names or f".{host}".endswith(self._domains)

    def init_app(self, app: Flask) -> None:
        """Refuse what is meant for another host, before anything else is looked at."""
        app.before_request(self._check)

    def _check(self) -> None:
        if request.path not in PROBES and not all(asked in self for asked in _asked()):
            raise Misdirected


def host_of(authority: str) -> str | None:
    """The name or address in ``authority`` as it is compared; None if it has none, or is malformed."""
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        return None
    address, name = found.groups()
    try:
        return str(ipaddress.IPv6Address(address)) if address else name.lower().removesuffix(".") or None
    except ValueError:
        return None


def _asked() -> Iterable[str]:
    """What the client asked for: ``Host``, and the address of the request itself if that is a whole URL."""
    yield request.environ.get("HTTP_HOST", "")
    target = request.environ.get("RAW_URI", "/")
    if not target.startswith(("/", "*")):
        yield target.partition("://")[2].partition("/")[0].partition("?")[0]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
