"""What the sockets of a chat are told, as frames of WebSockets, which are made once for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runtime import events
from runtime.stream import Batch, Entry, Record
from web.ops.metrics import Metrics
from web.panel import engine
from web.panel.translation import Translation


class Frames:
    """Of one chat: the encoder of its log's entries."""

    def __init__(self) -> None:
        self.translation = Translation()

    def __call__(self, record: Record) -> bytes:
        """The frames for an entry, one after the other; none where clients are not told of it."""
        if not isinstance(record, Entry):
            return b""
        return b"".join(engine.frame(name, data) for name, data in self.translation.of(record))


class Discarded(Exception):
    """Text that was told does not count any more."""


class FrameWriter:
    """Sends the frames of a chat to one client (:class:`runtime.stream.DirectWriter`).

    That saves a switch of greenlets, and the packing, per batch and socket. It is ``open`` only where
    nothing waits in the socket's queue; otherwise its room sends by that.
    """

    __slots__ = ("_connection", "_frames", "_is_discarded", "_metrics", "_served")

    def __init__(self, metrics: Metrics, frames: Frames, served: Callable[[], Any]) -> None:
        """``served``: Engine.IO's socket; None where that is gone."""
        self._metrics = metrics
        self._frames = frames
        self._served = served
        self._connection: engine.Connection | None = None
        self._is_discarded = False

    @property
    def open(self) -> bool:
        """Whether it may be used now."""
        self._connection = engine.way_past_queue(self._served())
        return self._connection is not None

    def offer(self, batch: Batch) -> bool:
        """Send what the socket accepts at once. False where :meth:`finish` has something to do."""
        if discards(batch):
            self._is_discarded = True
            return False
        self._metrics.delivered(batch)
        frames = batch.encoded(self._frames)
        return not frames or self._connection is None or self._connection.offer(frames)

    def finish(self) -> None:
        """Send the rest, as fast as the client reads. Raises OSError where it is gone, and Discarded."""
        if self._is_discarded:
            self._is_discarded = False
            raise Discarded
        if self._connection is not None:
            self._connection.finish()


def discards(batch: Batch) -> bool:
    """Whether text that was told does not count any more: its attempt is lost, and begins anew."""
    return any(one.type == events.RUN_RETRIED and one.fields.get("discarded") for one in batch.records)
