"""What all watchers of one thread in this process share: how far its log was read, and the newest entries."""

from __future__ import annotations

from gevent.event import Event

from runtime.events import RUN_QUEUED, Cursor
from runtime.stream.entries import Batch, Chunk, Entry, select_batch
from runtime.stream.watcher import Watcher

RING_BYTES = 1 << 19
"""Limit of the entries that one feed keeps; the newest is kept even if it is larger.

Entries keep their encoding as well, so that the memory used is up to twice this.
"""


def _is_acceptance(queued: Entry) -> bool:
    """Whether the run was queued because it was accepted, and not because its question was answered."""
    return bool(queued.fields["attempt"] == 0)


class Feed:
    """One watched thread.

    ``read_requested`` and ``scheduled`` belong to the hub: there may be something to read,
    and a reader has been given the feed.
    """

    __slots__ = (
        "_batch", "_batch_key", "_ring", "_ring_bytes", "_ring_entries", "active", "cursor", "first_run",
        "opened", "read_requested", "scheduled", "thread_id", "watchers",
    )  # fmt: skip

    def __init__(self, thread_id: str, ring_entries: int, first_run: str | None = None) -> None:
        """``ring_entries``: how many of the newest entries are kept for slower watchers, at least.

        Up to twice as many are kept between two trims; fewer, where they exceed RING_BYTES.
        """
        self.thread_id = thread_id
        self.first_run = first_run
        """The run whose first watcher opens this feed: it begins with that run's entries."""
        self.cursor: Cursor | None = None
        """Everything up to here was read; None until the first read."""
        self.watchers: set[Watcher] = set()
        self.read_requested = False
        self.scheduled = False
        self.active = False
        """Whether entries came since the ring was last looked at."""
        self.opened: Event | None = Event()
        """Set at the first read, then None."""
        self._ring_entries = ring_entries
        self._ring_bytes = 0
        self._ring: list[Entry] = []
        self._batch_key: tuple[str, int, str | None] | None = None
        self._batch: Batch | None = None

    def start(self, cursor: Cursor, chunk: Chunk | None = None) -> None:
        """Set the cursor, drop what is kept, and append ``chunk``: at the first read, and after a reset."""
        self.cursor = cursor
        self.clear()
        if chunk is not None:
            self.append(chunk)
        if self.opened is not None:
            self.opened.set()
            self.opened = None

    def apply_wakeup(self, chunk: Chunk) -> bool:
        """Append the entries of a wake-up. False if they do not continue the feed: the log must be read."""
        mine = self.cursor
        if mine is None or chunk.epoch != mine.epoch:
            return False
        if chunk.head <= mine.seq:  # already read
            return True
        if self.scheduled or not chunk.entries or chunk.entries[0].seq != mine.seq + 1:
            return False
        self.append(chunk)
        self.wake_watchers()
        return True

    def append(self, chunk: Chunk) -> None:
        """Add entries that follow directly on the cursor, and advance it. Wakes nobody."""
        new = chunk.entries
        if not new:
            return
        self._ring += new
        self._ring_bytes += sum(entry.size for entry in new)
        self.cursor = Cursor(chunk.epoch, new[-1].seq)
        self.active = True
        self._batch_key = self._batch = None
        if len(self._ring) > 2 * self._ring_entries or self._ring_bytes > RING_BYTES:
            self._trim()

    def entries_after(self, epoch: str, position: int) -> list[Entry] | None:
        """The entries after that position; None if they are no longer kept."""
        mine = self.cursor
        if mine is None or epoch != mine.epoch:
            return None
        missing = mine.seq - position
        if missing <= 0:
            return []
        return self._ring[-missing:] if missing <= len(self._ring) else None

    def batch_after(self, epoch: str, position: int, run_id: str | None) -> Batch | None:
        """The next batch after that position, of a run or of the thread; None if the log must be read.

        The latest result is kept: watchers at the same position share one selection and
        one encoding.
        """
        key = (epoch, position, run_id)
        if self._batch is None or self._batch_key != key:
            entries = self.entries_after(epoch, position)
            if entries is None:
                return None
            self._batch_key, self._batch = key, select_batch(entries, position, run_id)
        return self._batch

    def start_of_run(self, run_id: str) -> Cursor | None:
        """The cursor before the first entry of a run; None where the ring does not hold that entry."""
        mine = self.cursor
        if mine is not None:
            for entry in self._ring:
                if entry.type == RUN_QUEUED and entry.run_id == run_id and _is_acceptance(entry):
                    return Cursor(mine.epoch, entry.seq - 1)
        return None

    def clear(self) -> None:
        """Empty the ring: nothing has happened for a while, so that all who keep up have seen it."""
        self._ring, self._ring_bytes = [], 0
        self._batch_key = self._batch = None

    @property
    def ring(self) -> list[Entry]:
        """The entries that are kept, oldest first."""
        return self._ring

    def wake_watchers(self) -> None:
        """Let everybody who watches look for new entries."""
        for watcher in self.watchers:
            watcher.wake()

    def _trim(self) -> None:
        kept, size = 0, 0
        for entry in reversed(self._ring):
            size += entry.size
            if kept and (kept >= self._ring_entries or size > RING_BYTES):
                size -= entry.size
                break
            kept += 1
        del self._ring[:-kept]
        self._ring_bytes = size
