"""The dialer: connects to a host, at addresses that the worker may reach.

A name is resolved here, once, and what is connected to is an address that has been
looked at. A name that has another address a moment later leads nowhere else.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl

from runtime.child.egress.routes import Refused, Route, line_to_allow
from runtime.sandbox.destinations import Destinations
from runtime.sdk.addresses import is_own, is_public

_CONNECT_TIMEOUT = 15.0
_MOST_ADDRESSES = 4
"""How many addresses of a name are tried."""


def dial(route: Route, destinations: Destinations, context: ssl.SSLContext) -> socket.socket:
    """A connection to where the route leads. Raises Refused, and OSError where nobody answers."""
    addresses = _resolve(route.host, route.port)
    allowed = [a for a in addresses if route.trusted or _may_reach(a, route.port, destinations)]
    if not allowed:
        raise Refused(
            f"it leads to {addresses[0]}, which is private; {line_to_allow(addresses[0])}",
            route.host,
            route.port,
        )
    connection = _connect(allowed[:_MOST_ADDRESSES], route.port)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not route.tls:
        return connection
    try:
        return context.wrap_socket(connection, server_hostname=route.host)
    except BaseException:
        connection.close()
        raise


def _resolve(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a part of the name is too long for any host
        raise OSError(f"{host} is no name of a host") from error
    addresses = dict.fromkeys(str(address[0]) for *_, address in found)
    if not addresses:
        raise OSError(f"{host} has no address")
    return list(addresses)


def _may_reach(text: str, port: int, destinations: Destinations) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if destinations.name_address(address, port):
        return True
    return is_public(str(address)) and not is_own(str(address))


def _connect(addresses: list[str], port: int) -> socket.socket:
    """The first of the addresses that answers. Raises OSError."""
    for address in addresses[:-1]:
        try:
            return socket.create_connection((address, port), _CONNECT_TIMEOUT)
        except OSError:
            continue
    return socket.create_connection((addresses[-1], port), _CONNECT_TIMEOUT)
