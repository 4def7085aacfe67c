"""What a run has used: tokens, calls, money, whatever its worker counts."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.model import Json

Usage = Mapping[str, Json]


def add(first: Usage | None, second: Usage | None) -> Usage | None:
    """Both together: numbers add up, also within objects; of anything else the second counts."""
    if not first or not second:
        return first or second
    return {**first, **{name: _sum(first.get(name), value) for name, value in second.items()}}


def _sum(first: Json, second: Json) -> Json:
    if isinstance(first, dict) and isinstance(second, dict):
        return add(first, second)
    if _is_number(first) and _is_number(second):
        return first + second
    return second


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
