"""Vectors as they are stored: of length 1, each number in two bytes.

So the product of two is the cosine of the angle between them. Half precision changes it in the fourth
digit, and is half of what would have to be read otherwise.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

STORED = "<f2"
"""A number, as numpy calls it."""


def encode(values: Sequence[float]) -> bytes:
    """A vector as it is stored. Raises ValueError where it has no direction, and TypeError."""
    length = math.hypot(*values)
    if not (math.isfinite(length) and length):
        raise ValueError("a vector without a direction")
    return struct.pack(f"<{len(values)}e", *(value / length for value in values))


def decode(stored: bytes) -> list[float]:
    """The numbers of a vector that is stored."""
    return [*struct.unpack(f"<{len(stored) // 2}e", stored)]
