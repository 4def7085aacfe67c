"""Packed answers: of a server that a user has chosen none is taken.

What is packed may unpack to any size, a kilobyte to gigabytes where it is packed twice, and HTTP clients
unpack a piece as a whole before anybody can look at its size.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_AS_IT_IS = "identity"
UNPACKED: Mapping[str, str] = MappingProxyType({"Accept-Encoding": _AS_IT_IS})
"""Headers of a request whose answer is to come as it is (RFC 9110)."""


class PackedAnswer(OSError):
    """A server has packed its answer, though it was asked not to."""


def refuse_packed(response: Any) -> None:
    """Raise PackedAnswer for a response of httpx, before anything of its body is read, if that is packed."""
    coding = response.headers.get("Content-Encoding", _AS_IT_IS)
    if coding.strip().lower() != _AS_IT_IS:
        raise PackedAnswer(f"it answered in the encoding {coding}, which was not asked for")
