"""Empty looks: a worker that looks into its inbox again and again costs one write for many looks.

Each look is committed before the worker is told what it has found, so that a later attempt finds
the same. For a worker that looks in a loop that would be a transaction for each turn. So where some
looks have found nothing, one right after the other, as many as it makes in a tenth of a second are
committed as empty ahead of time, and are answered from that for as long. A message that arrives
meanwhile is found by the first look after it.

Looks that were committed ahead and never made are taken back when the attempt ends, with its status.
If its process dies instead, the next attempt finds nothing in as many looks more than this one made.
"""

from __future__ import annotations

import time
from collections.abc import Callable

PERIOD = 0.1
"""Seconds for which an empty inbox is known to be empty; what arrives meanwhile is found later by so much."""
_IN_A_ROW = 2
"""Looks that have found nothing within a period of each other, before any is committed ahead."""
_MOST = 200
"""Looks that are committed ahead at once."""


class EmptyLooks:
    """How many looks of one attempt are committed ahead of time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` in seconds."""
        self._clock = clock
        self.committed = 0
        """The last look that is committed as an empty one."""
        self._asked_at = float("-inf")
        self._asked = 0
        """The last look for which the database was asked, and when."""
        self._in_a_row = 0

    def contain(self, number: int) -> bool:
        """Whether that look is one of them, and its worker may be told so."""
        return number <= self.committed and self._clock() < self._asked_at + PERIOD

    def ahead(self, number: int) -> int:
        """How many looks after that one may be committed with it, if it finds nothing."""
        if self._in_a_row < _IN_A_ROW:
            return 0
        seconds = max(self._clock() - self._asked_at, 1e-3)
        return min(_MOST, int((number - self._asked) * PERIOD / seconds))

    def add(self, number: int, ahead: int) -> None:
        """That look has found nothing, and so many more are committed with it."""
        present = self._clock()
        self._in_a_row = self._in_a_row + 1 if present < self._asked_at + 2 * PERIOD else 0
        self._asked, self._asked_at, self.committed = number, present, number + ahead

    def forget(self) -> None:
        """A look has found something."""
        self._in_a_row = self.committed = 0
