"""Free ports for processes that take a while until they listen."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import suppress

_FIRST, _EACH, _PARTS = 20_000, 500, 25
"""Below those that the kernel gives to whoever asks for any; a part for each process of pytest."""
_part = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PARTS
_ports = itertools.count(_FIRST + _part * _EACH + os.getpid() % (_EACH // 2))


def free_port() -> int:
    """A port that nobody listens on; no other call gets the same."""
    for port in _ports:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("there is none")
