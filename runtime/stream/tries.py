"""Tries, to sign in for one: counted under a name by all processes together."""

from __future__ import annotations

from runtime.stream import keys
from runtime.stream.connection import Link, Script

_TRY = Script("try")


class Tries:
    """At most ``most`` tries under each name within ``window`` seconds, whenever that begins."""

    def __init__(self, link: Link, most: int, window: float) -> None:
        self._link = link
        self._most = most
        self._window = round(window * 1000)

    def count(self, name: str) -> float:
        """Note a try; or, where there were too many, the seconds to wait. Raises StreamUnavailable."""
        wait: int = self._link.call(_TRY, [keys.tries(name)], [self._most, self._window])
        return wait / 1000
