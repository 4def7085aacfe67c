"""Who may measure for how long, so that all of it is done in time."""

from __future__ import annotations

import time
from collections.abc import Iterator


class Schedule:
    """A moment at which each benchmark is to be done; who is quicker leaves the time to those after."""

    def __init__(self, seconds: float, needed: float) -> None:
        """``seconds``: how long all may take; ``needed``: how long it would take if nobody hurried."""
        self._until = time.monotonic() + seconds
        self._needed = needed

    def passed(self, needed: float) -> None:
        """What was to take so many of the needed seconds, and is not measured, is done."""
        self._needed -= needed

    def rounds(self, most: int, needed: float) -> Iterator[int]:
        """Numbers of rounds: one in any case, and more while there is time for one as long as the longest.

        ``needed`` is what ``most`` rounds would take if nobody hurried: their
        part of the time that is left is in proportion to it.
        """
        began = time.monotonic()
        until = began + (self._until - began) * needed / self._needed
        self._needed -= needed
        longest = 0.0
        for number in range(most):
            at = time.monotonic()
            if number and at + longest > until:
                return
            yield number
            longest = max(longest, time.monotonic() - at)
