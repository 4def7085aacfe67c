"""What all watchers of one thread in this process share: how far its log was read, and the newest entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gevent.event import Event

from runtime.events import Cursor, encode_sse, with_seq
from runtime.stream.follower import Watcher
from runtime.stream.log import Chunk, Entry

RING_BYTES = 1 << 20
"""A ring holds no more than this, but always its newest entry."""


class Encoded(NamedTuple):
    """An entry as it is sent."""

    seq: int
    type: str
    run_id: str
    sse: bytes


def encode(epoch: str, entries: Sequence[Entry]) -> list[Encoded]:
    """The entries as Server-Sent Events."""
    return [
        Encoded(
            entry.seq,
            entry.type,
            entry.run_id,
            encode_sse(f"{epoch}:{entry.seq}", entry.type, with_seq(entry.payload, entry.seq)),
        )
        for entry in entries
    ]


class Feed:
    """One watched thread.

    ``wanted`` and ``scheduled`` belong to the hub: there may be something to read,
    and a reader has been told.
    """

    __slots__ = (
        "_bytes", "_ring", "_size", "active", "cursor", "opened", "scheduled",
        "thread_id", "wanted", "watchers",
    )  # fmt: skip

    def __init__(self, thread_id: str, size: int) -> None:
        self.thread_id = thread_id
        self.cursor: Cursor | None = None
        """Everything up to here was read; None until the first read."""
        self.watchers: set[Watcher] = set()
        self.wanted = False
        self.scheduled = False
        self.active = False
        """Whether entries came since the ring was last looked at."""
        self.opened: Event | None = Event()
        """Set at the first read, then None."""
        self._size = size
        self._bytes = 0
        self._ring: list[Encoded] = []

    def start(self, cursor: Cursor) -> None:
        """Begin at ``cursor``; what was held before is of another epoch."""
        self.cursor = cursor
        self._ring, self._bytes = [], 0
        if self.opened is not None:
            self.opened.set()
            self.opened = None

    def take(self, chunk: Chunk) -> None:
        """Hold what was read on."""
        if not chunk.entries:
            return
        new = encode(chunk.epoch, chunk.entries)
        self._ring += new
        self._bytes += sum(len(entry.sse) for entry in new)
        self.cursor = Cursor(chunk.epoch, new[-1].seq)
        self.active = True
        if len(self._ring) > 2 * self._size or self._bytes > RING_BYTES:
            self._trim()

    def after(self, epoch: str, seq: int) -> list[Encoded] | None:
        """The entries after that place; None where only Redis can tell."""
        mine = self.cursor
        if mine is None or epoch != mine.epoch:
            return None
        missing = mine.seq - seq
        if missing <= 0:
            return []
        return self._ring[-missing:] if missing <= len(self._ring) else None

    def forget(self) -> None:
        """Empty the ring: nothing has happened for a while, so that all who keep up have seen it."""
        self._ring, self._bytes = [], 0

    def wake(self) -> None:
        """Wake everybody who watches."""
        for watcher in self.watchers:
            watcher.wake()

    def _trim(self) -> None:
        kept, size = 0, 0
        for entry in reversed(self._ring):
            size += len(entry.sse)
            if kept and (kept >= self._size or size > RING_BYTES):
                size -= len(entry.sse)
                break
            kept += 1
        del self._ring[:-kept]
        self._bytes = size


class Board:
    """One watched workspace: the newest hints. Numbered like a feed, by this process alone."""

    __slots__ = ("_ring", "_size", "opened", "seq", "watchers")

    def __init__(self, size: int) -> None:
        self.seq = 0
        self.watchers: set[Watcher] = set()
        self.opened = Event()
        self._size = size
        self._ring: list[bytes] = []

    def take(self, hint: bytes) -> None:
        """Hold one more hint, and wake everybody."""
        self.seq += 1
        self._ring = [*self._ring[1 - self._size :], hint]
        for watcher in self.watchers:
            watcher.wake()

    def after(self, seq: int) -> list[bytes] | None:
        """The hints after ``seq``; None where they are no longer held."""
        missing = self.seq - seq
        if missing == 0:
            return []
        return self._ring[-missing:] if missing <= len(self._ring) else None
