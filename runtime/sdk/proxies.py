"""The proxy on the way to a server."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass


def proxy_of(server: SplitResult) -> SplitResult | None:
    """The proxy by HTTPS_PROXY, HTTP_PROXY and NO_PROXY as urllib reads them.

    Raises ValueError where it is no URL of a proxy, or of one to which the standard library has no way:
    it would ask for a tunnel, and sign in for it, without TLS.
    """
    given = getproxies().get(server.scheme)
    if not given or proxy_bypass(server.netloc):
        return None
    proxy = urlsplit(given if "://" in given else f"http://{given}")
    if proxy.scheme not in ("http", "https") or not proxy.hostname:
        raise ValueError(f"{_without_user(proxy)!r} is no URL of a proxy")
    if proxy.scheme == server.scheme == "https":
        raise ValueError(
            f"the proxy {_without_user(proxy)} is to be spoken to by TLS, which is not possible for a server "
            "with TLS; if it takes connections without, HTTPS_PROXY names it as http://…, and NO_PROXY names "
            "a server that needs no proxy"
        )
    return proxy


def _without_user(proxy: SplitResult) -> str:
    return proxy._replace(netloc=proxy.netloc.rpartition("@")[2]).geturl()
