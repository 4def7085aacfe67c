"""A sliding window: counts what all processes together do under a name, to limit its rate."""

from __future__ import annotations

from runtime.stream.connection import Link, Script

_COUNT = Script("sliding_window")


class SlidingWindow:
    """At most ``limit`` attempts under each name within any ``window`` seconds."""

    def __init__(self, link: Link, limit: int, window: float) -> None:
        self._link = link
        self._limit = limit
        self._window = round(window * 1000)

    def count(self, name: str) -> float:
        """Count an attempt; or, where there were too many, the seconds to wait. Raises StreamUnavailable."""
        wait: int = self._link.call(
            _COUNT, [self._link.keys.sliding_window(name)], [self._limit, self._window]
        )
        return wait / 1000
