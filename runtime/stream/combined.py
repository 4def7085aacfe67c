"""Several logs and the hints of a workspace as one stream.

A browser makes at most six connections to a server over HTTP/1.1, for all its tabs together.
So whatever its tabs follow has to come over one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from runtime.stream.entries import EMPTY, Batch
from runtime.stream.follower import DirectWriter, Follower
from runtime.stream.hints import HintReader
from runtime.stream.watcher import Watcher

Part = Follower | HintReader


class Combined(Watcher):
    """Sends what its parts have to send. It waits in their place: their feeds wake it.

    A part that ends, by a reset or with its thread, leaves the others as they are.
    """

    __slots__ = ("_parts", "_writer")

    def __init__(
        self, heartbeat: float, on_close: Callable[[Watcher], None], writer: DirectWriter | None = None
    ) -> None:
        super().__init__(heartbeat, on_close)
        self._parts: deque[Part] = deque()
        self._writer = writer

    def add(self, part: Part) -> None:
        """Send what ``part`` has to send as well, and close it in the end."""
        self._parts.append(part)

    def close(self) -> None:
        """End it, and leave the feeds of all parts."""
        while self._parts:
            self._parts.pop().close()
        super().close()

    def advance(self) -> Batch:
        """What the next part that has anything has to send. Raises StreamUnavailable."""
        for _ in range(len(self._parts)):
            part = self._parts[0]
            self._parts.rotate(-1)  # before it may fail: then it is the turn of the others
            batch = part.advance()
            if part.ended:
                self._parts.pop().close()
            if batch.records:
                return batch
        return EMPTY

    def _send_directly(self) -> bool:
        if self._writer is None or not self._writer.open:
            return False
        for part in self._parts:
            batch = part.take_small()
            if batch is None or (batch.records and not self._writer.offer(batch)):
                return False
        return True

    def _wait(self) -> None:
        super()._wait()
        if self._writer is not None:
            self._writer.finish()
