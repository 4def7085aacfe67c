"""Network addresses: read from text, and what they are counted as.

Nothing of ours is imported here: gunicorn's worker counts connections by address, and is
imported before gevent has patched the process.
"""

from __future__ import annotations

import ipaddress
import re

_WITH_PORT = re.compile(r'"?(?:\[(?P<v6>[^\]]+)\]|(?P<v4>[0-9.]+))(?::\w+)?"?', re.ASCII)


def address_of(text: str) -> str | None:
    """The IP address in ``text``: alone, in brackets, or with a port; None if there is none."""
    found = _WITH_PORT.fullmatch(text.strip())
    try:
        address = ipaddress.ip_address((found["v6"] or found["v4"]) if found else text.strip())
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def network(address: str | None) -> str:
    """What an address is counted as: of IPv6 its /64, all of which one customer usually has."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)
