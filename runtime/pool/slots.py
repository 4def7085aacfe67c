"""Slots: how many runs of a pool process are at work, and whether there is room for another one.

A run that waits for a sub-run is not at work. What it leaves free is for sub-runs: the queue's
messages are of other runs, and as many of these are handled at once as there are slots, whether
they wait or not. See ``docs/explanation/scheduling.md``.
"""

from __future__ import annotations

from collections.abc import Callable


class Slots:
    """The slots of one pool process."""

    def __init__(
        self, total: int, waiting: Callable[[], int], on_room: Callable[[bool], None] = lambda _: None
    ) -> None:
        """``waiting``: how many runs here wait for sub-runs. ``on_room`` is told whether there is room."""
        self._total = total
        self._waiting = waiting
        self._on_room = on_room
        self.held = 0
        """Runs that this process has in hand, including those that it is about to claim."""
        self._apart = 0
        """Those of them that isolated processes execute; whether they wait is not known here."""
        self._had_room = True
        self._offered: int | None = None
        """How many more runs machines elsewhere would begin; None: runs are executed here."""

    @property
    def free(self) -> int:
        """How many more runs could be at work; negative where some go on that have waited."""
        free = self._total - (self.held - self._apart - self._waiting())
        return free if self._offered is None else min(free, self._offered)

    def offer(self, count: int) -> None:
        """So many more runs would be begun by machines elsewhere."""
        self._offered = count
        self.changed()

    def take(self) -> None:
        """One more run is in hand."""
        self.held += 1
        if self._offered:
            self._offered -= 1
        self.changed()

    def give_back(self) -> None:
        """One less is."""
        self.held -= 1
        self.changed()

    def set_apart(self, more: int) -> None:
        """An isolated process executes a run that is in hand (1), or does no more (-1)."""
        self._apart += more
        self.changed()

    def changed(self) -> None:
        """A run waits now, or does no more."""
        has_room = self.free > 0
        if has_room != self._had_room:
            self._had_room = has_room
            self._on_room(has_room)
