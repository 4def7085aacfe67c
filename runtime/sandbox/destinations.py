"""Destinations: which hosts a worker at level ``strict`` may connect to, as its worker.toml names them.

=======================  ==============================================================
``api.example.com``      this host, at ports 80 and 443
``db.example.com:5432``  this host, at this port
``*.example.com``        all hosts below ``example.com``, but not it
``192.0.2.7``            this address, asked for as such; and by a name that is allowed
``10.0.0.0/8:8080``      addresses of this network
=======================  ==============================================================

A name does not open private networks: whoever answers for the name could lead into them.
So an address that not everybody on the internet can reach must be named itself, or by its
network, beside the name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*\Z")
_PORT = re.compile(r"(?P<host>.*):(?P<port>[0-9]{1,5})\Z", re.DOTALL)
_DEFAULT_PORTS = frozenset({80, 443})

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Destination:
    """One entry of ``connect``."""

    name: str | None
    """A host's name; beginning with ``*.`` all below it. None: ``network`` says where."""
    network: Network | None
    ports: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Destination:
        """Raises ValueError that says what is wrong with ``text``."""
        host, ports = _split(text)
        network = _network(host)
        if network is not None:
            return cls(None, network, ports)
        name = normal(host)
        if not _NAME.match(name) or len(name) > 253 or name.rpartition(".")[2].isdigit():
            raise ValueError(f"{text!r} is neither the name of a host nor an address")
        return cls(name, None, ports)

    def has_name(self, name: str, port: int) -> bool:
        """Whether it names the host ``name``, which is in its normal form."""
        if self.name is None or port not in self.ports:
            return False
        return name.endswith(self.name[1:]) if self.name.startswith("*.") else name == self.name

    def has_address(self, address: Address, port: int) -> bool:
        """Whether it names the address."""
        return self.network is not None and port in self.ports and address in self.network


class Destinations:
    """All entries of ``connect``."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Raises ValueError."""
        self._entries = tuple(map(Destination.parse, entries))

    def allow(self, host: str, port: int) -> bool:
        """Whether a worker may ask for ``host``, a name or an address; not yet where that leads."""
        address = as_address(host)
        if address is not None:
            return self.name_address(address, port)
        name = normal(host)
        return any(entry.has_name(name, port) for entry in self._entries)

    def name_address(self, address: Address, port: int) -> bool:
        """Whether an entry is this address, or a network that it is in."""
        return any(entry.has_address(address, port) for entry in self._entries)


def normal(host: str) -> str:
    """A host's name as names are compared: lower case, ASCII, no dot at its end."""
    name = host.lower().removesuffix(".")
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name


def as_address(host: str) -> Address | None:
    """The address that ``host`` is, with or without brackets; None: it is a name."""
    try:
        return ipaddress.ip_address(_bare(host))
    except ValueError:
        return None


def _split(text: str) -> tuple[str, frozenset[int]]:
    """An entry's host, and its ports."""
    if _network(text) is not None:  # an address of IPv6 ends like a port
        return text, _DEFAULT_PORTS
    match = _PORT.match(text)
    if match is None:
        return text, _DEFAULT_PORTS
    port = int(match["port"])
    if not 0 < port < 65536:
        raise ValueError(f"{text!r} has no port between 1 and 65535")
    return match["host"], frozenset({port})


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(_bare(text))
    except ValueError:
        return None


def _bare(text: str) -> str:
    """An address without the brackets that it has before a port."""
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text
