"""What all watchers of one thread in this process share: how far its log was read, and the newest entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson
from gevent.event import Event

from runtime.events import RUN_QUEUED, Cursor, encode_sse, with_seq
from runtime.stream.follower import Passage, Watcher, select
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


def _is_first(queued: Encoded) -> bool:
    """Whether the run was queued because it was accepted, and not because its question was answered."""
    return bool(orjson.loads(queued.sse.rpartition(b"\ndata: ")[2])["attempt"] == 0)


class Feed:
    """One watched thread.

    ``wanted`` and ``scheduled`` belong to the hub: there may be something to read,
    and a reader has been told.
    """

    __slots__ = (
        "_bytes", "_passed", "_ring", "_size", "active", "cursor", "first_run", "opened", "scheduled",
        "thread_id", "wanted", "watchers",
    )  # fmt: skip

    def __init__(self, thread_id: str, size: int, first_run: str | None = None) -> None:
        self.thread_id = thread_id
        self.first_run = first_run
        """The run whose first watcher opens this feed: it begins with that run's entries."""
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
        self._passed: tuple[tuple[str, int, str | None], Passage] | None = None

    def start(self, cursor: Cursor, chunk: Chunk | None = None) -> None:
        """Begin at ``cursor`` and with what follows on it; what was held before is of another epoch."""
        self.cursor = cursor
        self.forget()
        if chunk is not None:
            self.take(chunk)
        if self.opened is not None:
            self.opened.set()
            self.opened = None

    def hear(self, chunk: Chunk) -> bool:
        """Take what a wake-up says. False where only Redis can tell what comes next."""
        mine = self.cursor
        if mine is None or chunk.epoch != mine.epoch:
            return False
        if chunk.head <= mine.seq:  # it was read before its wake-up came
            return True
        if self.scheduled or not chunk.entries or chunk.entries[0].seq != mine.seq + 1:
            return False
        self.take(chunk)
        self.wake()
        return True

    def take(self, chunk: Chunk) -> None:
        """Hold what follows on the cursor."""
        if not chunk.entries:
            return
        new = encode(chunk.epoch, chunk.entries)
        self._ring += new
        self._bytes += sum(len(entry.sse) for entry in new)
        self.cursor = Cursor(chunk.epoch, new[-1].seq)
        self.active = True
        self._passed = None
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

    def passage(self, epoch: str, seq: int, run_id: str | None) -> Passage | None:
        """What follows on that place, for a run or for the thread; None where only Redis can tell.

        Put together once for all who come from one place one after the other, as they do when all keep up.
        """
        place = (epoch, seq, run_id)
        if self._passed is None or self._passed[0] != place:
            entries = self.after(epoch, seq)
            if entries is None:
                return None
            self._passed = place, select(entries, seq, run_id)
        return self._passed[1]

    def beginning(self, run_id: str) -> Cursor | None:
        """The place before the first entry of a run; None where the ring does not hold it."""
        mine = self.cursor
        if mine is not None:
            for entry in self._ring:
                if entry.type == RUN_QUEUED and entry.run_id == run_id and _is_first(entry):
                    return Cursor(mine.epoch, entry.seq - 1)
        return None

    def forget(self) -> None:
        """Empty the ring: nothing has happened for a while, so that all who keep up have seen it."""
        self._ring, self._bytes, self._passed = [], 0, None

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
