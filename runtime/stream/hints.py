"""Hints: tell everybody who looks at a workspace that something in its lists has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson
from gevent.event import Event

from runtime.model import Json
from runtime.stream.entries import EMPTY, Batch, Signal
from runtime.stream.watcher import Watcher

RELOAD = Signal({"type": "reload"})
"""Hints may have been missed: read the lists again."""


@dataclass(frozen=True, slots=True)
class Hint:
    """A hint to be sent: something changed in a workspace."""

    workspace_id: str
    about: dict[str, Json]
    """Its ``type``, and which thread or run it is about."""

    @property
    def message(self) -> bytes:
        """What is published."""
        return orjson.dumps(self.about)


def decode_hint(message: bytes) -> Signal:
    """A published hint, as its readers get it."""
    return Signal(orjson.loads(message), message)


class HintFeed:
    """One watched workspace: its newest hints, numbered by this process alone."""

    __slots__ = ("_batch", "_batch_position", "_capacity", "_ring", "opened", "position", "watchers")

    def __init__(self, capacity: int) -> None:
        """``capacity``: how many hints are kept for slower readers."""
        self.position = 0
        self.watchers: set[Watcher] = set()
        self.opened = Event()
        self._capacity = capacity
        self._ring: list[Signal] = []
        self._batch_position = 0
        self._batch = EMPTY

    def append(self, hint: Signal) -> None:
        """Keep one more hint, and wake everybody."""
        self.position += 1
        self._ring = [*self._ring[1 - self._capacity :], hint]
        for watcher in self.watchers:
            watcher.wake()

    def batch_after(self, position: int) -> Batch:
        """The hints after ``position``, or RELOAD where some of them are no longer kept."""
        if position == self.position:
            return EMPTY
        if self._batch.position != self.position or self._batch_position != position:
            missing = self.position - position
            hints = self._ring[-missing:] if missing <= len(self._ring) else [RELOAD]
            self._batch_position, self._batch = position, Batch(hints, self.position)
        return self._batch


class HintReader(Watcher):
    """Follows the hints of a workspace from now on."""

    __slots__ = ("_feed", "_position")

    def __init__(self, feed: HintFeed, heartbeat: float, on_close: Callable[[Watcher], None]) -> None:
        super().__init__(heartbeat, on_close)
        self._feed = feed
        self._position = feed.position

    def advance(self) -> Batch:
        """The hints since the last call."""
        batch = self._feed.batch_after(self._position)
        self._position = self._feed.position
        return batch

    def take_small(self) -> Batch:
        """The same: hints are small, and are in memory."""
        return self.advance()
