"""A follower: the watcher of one thread's log, or of one run of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from runtime.events import Cursor
from runtime.stream.entries import BATCH_BYTES, EMPTY, Batch, Entry, reset_signal, select_batch
from runtime.stream.feed import Feed
from runtime.stream.watcher import Watcher


class DirectWriter(Protocol):
    """Sends to a stream's reader without switching to the stream's greenlet.

    A follower uses it only while the greenlet waits in it: then all that it has yielded
    was sent before, and nobody else writes.
    """

    @property
    def open(self) -> bool:
        """Whether it may be used now."""
        ...

    def offer(self, batch: Batch) -> bool:
        """Send ``batch`` without waiting. False where ``finish`` has to send the rest of it.

        Raises nothing once a byte of it was sent.
        """

    def finish(self) -> None:
        """Send what remains, as fast as the reader reads. Raises OSError where the reader is gone."""


class Follower(Watcher):
    """Follows a thread's log, or one run of it, from a cursor on.

    Ends after ``run.completed`` of its run, after ``thread.deleted``, and when the
    log cannot be followed further: then ``reset`` says why, and a stream of a whole
    thread has yielded a reset signal last.
    """

    __slots__ = ("_epoch", "_feed", "_position", "_read", "_run_id", "_writer", "reset")

    def __init__(
        self,
        feed: Feed,
        run_id: str | None,
        read: Callable[[Cursor], tuple[list[Entry], str | None]],
        heartbeat: float,
        on_close: Callable[[Watcher], None],
        writer: DirectWriter | None = None,
    ) -> None:
        """``read`` returns what follows on a cursor, or the reason of a reset, where the feed lacks it."""
        super().__init__(heartbeat, on_close)
        self._writer = writer
        self._feed = feed
        self._run_id = run_id
        self._read = read
        self._epoch, self._position = "", 0
        self.reset: str | None = None
        """Why it ended: epoch, gap or trimmed; None where it ended otherwise, or not yet."""

    @property
    def cursor(self) -> Cursor:
        """How far it has come."""
        return Cursor(self._epoch, self._position)

    def start(self, cursor: Cursor | None) -> None:
        """Begin at ``cursor``; None: where the feed, which is open, is now."""
        cursor = cursor or self._feed.cursor
        if cursor is not None:
            self._epoch, self._position = cursor.epoch, cursor.seq

    def start_at_run(self) -> bool:
        """Begin before the first entry of its run; False where the feed does not hold that."""
        cursor = self._feed.start_of_run(self._run_id) if self._run_id else None
        if cursor is not None:
            self.start(cursor)
        return cursor is not None

    def advance(self) -> Batch:
        """The next entries; the last of them, or a reset, ends it. Raises StreamUnavailable."""
        while True:
            batch, more = self._feed.batch_after(self._epoch, self._position, self._run_id), False
            if batch is None:
                entries, self.reset = self._read(self.cursor)
                if self.reset:
                    self._ended = True
                    return self._reset_batch(self.reset)
                batch, more = select_batch(entries, self._position, self._run_id), bool(entries)
            self._position = batch.position
            if batch.final:
                self._ended = True
            # Where all that was read belongs to other runs, no wake-up would come for what follows on it.
            if batch.records or batch.final or not more:
                return batch

    def _reset_batch(self, reason: str) -> Batch:
        """The follower of one run leaves the reset to its caller, who may replay the run instead."""
        return EMPTY if self._run_id else Batch([reset_signal(self._feed.thread_id, reason)])

    def take_small(self) -> Batch | None:
        """The next entries, which count as sent; None where ``advance`` has to get them."""
        batch = self._feed.batch_after(self._epoch, self._position, self._run_id)
        if batch is None or batch.final or batch.size >= BATCH_BYTES:
            return None
        self._position = batch.position
        return batch

    def _send_directly(self) -> bool:
        if self._writer is None or not self._writer.open:
            return False
        batch = self.take_small()
        return batch is not None and (not batch.records or self._writer.offer(batch))

    def _wait(self) -> None:
        super()._wait()
        if self._writer is not None:
            self._writer.finish()
