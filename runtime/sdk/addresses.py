"""Public addresses: how a worker keeps a user who chooses a server out of the pool's own network.

A name is resolved once, and the caller connects to the address that was checked: a name
that is resolved again may have another address by then (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses whose last four bytes a translator reads as one of IPv4 (RFC 6052)."""
_ASSIGNMENTS = ipaddress.IPv4Network("192.0.0.0/24")
"""Protocols' own, which some versions of Python count as public; a cloud has its metadata here."""
_DISCARD = 9
"""A port to ask the kernel for a route to; nothing is sent."""


def public_address(host: str, port: int) -> str:
    """The address to connect to for ``host``, a name or an address of any spelling.

    Raises PermissionError where one of its addresses is not a public one, or is this
    machine's own, and OSError where it has none.
    """
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    addresses = [str(address[0]).partition("%")[0] for *_, address in found]
    for address in addresses:
        if not is_public(address) or is_own(address):
            raise PermissionError(f"{host} is not at a public address.")
    return addresses[0]


def is_public(text: str) -> bool:
    """Whether an address is one that anybody on the internet can reach, however it is wrapped.

    Raises ValueError for what is no address.
    """
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        inner = _wrapped(address)
        if inner is not None:
            return is_public(str(inner))
        if address.is_site_local:
            return False
    elif address in _ASSIGNMENTS:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _wrapped(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The address of IPv4 that one of IPv6 leads to, if it does."""
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    if address.teredo:
        return address.teredo[1]
    if address in _NAT64 or (address.packed[:12] == bytes(12) and int(address) > 1):
        return ipaddress.IPv4Address(address.packed[12:])
    return None


def is_own(address: str) -> bool:
    """Whether this machine would talk to itself: then the kernel sends from that very address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, _DISCARD))
            return bool(probe.getsockname()[0] == address)
    except OSError:  # there is no way to it, or a sandbox that lets nothing but TCP out
        return False
