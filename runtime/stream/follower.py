"""Watchers: what a stream iterates over. Each holds a place, never a queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import gevent
import orjson
from gevent.hub import Waiter, get_hub

from runtime.errors import StreamUnavailable
from runtime.events import RESET, RUN_COMPLETED, THREAD_DELETED, Cursor
from runtime.model import encode_time, utc_now

if TYPE_CHECKING:
    from runtime.stream.feed import Board, Encoded, Feed

MOST_BYTES = 1 << 16
"""What is yielded at once ends with the entry that reaches this. Who stops reading holds it twice."""

RETRY_AFTER = 0.5
"""Seconds to wait where Redis could not be read."""


def encode_reset(thread_id: str, reason: str, run_id: str | None = None) -> bytes:
    """A ``reset`` as it is sent. It has no id, so that the client's place stays as it was."""
    data = {
        "seq": None,
        "type": RESET,
        "thread_id": thread_id,
        "run_id": run_id,
        "attempt": 0,
        "state_id": None,
        "at": encode_time(utc_now()),
        "reason": reason,
    }
    return b"event: %b\ndata: %b\n\n" % (RESET.encode(), orjson.dumps(data))


class Outlet(Protocol):
    """A way to a stream's reader that needs no turn of the stream's greenlet.

    A follower uses it only while the greenlet waits in it: whatever it has yielded
    was sent before, and nobody else writes.
    """

    open: bool
    """Whether it may be used."""

    def offer(self, data: bytes) -> bool:
        """Send ``data`` without waiting. False where ``finish`` has to send the rest of it.

        Raises nothing once a byte of it was sent.
        """

    def finish(self) -> None:
        """Send what remains, as fast as the reader reads. Raises OSError where that has gone."""


class Passage(NamedTuple):
    """What follows for those who are at one place of a log, as it is sent."""

    data: bytes
    seq: int
    """Where it leads to."""
    ends: bool
    """Whether nothing comes after it."""


def select(entries: Sequence[Encoded], seq: int, run_id: str | None) -> Passage:
    """What follows on ``seq`` of a whole thread, or of one run; ends early where that is much."""
    chosen: list[bytes] = []
    size = 0
    for entry in entries:
        seq = entry.seq
        if run_id is None or entry.run_id == run_id:
            chosen.append(entry.sse)
            size += len(entry.sse)
            if entry.type == RUN_COMPLETED and run_id:
                return Passage(b"".join(chosen), seq, ends=True)
        if entry.type == THREAD_DELETED:
            return Passage(b"".join(chosen), seq, ends=True)
        if size >= MOST_BYTES:
            break
    return Passage(b"".join(chosen), seq, ends=False)


class Watcher(Iterator[bytes | None]):
    """Yields bytes to send, and None where it has yielded nothing for ``heartbeat`` seconds.

    Blocks cooperatively while there is nothing. ``close`` it when done.
    """

    __slots__ = ("_called", "_due", "_heartbeat", "_leave", "_over", "_waiter", "_woken")

    def __init__(self, heartbeat: float, leave: Callable[[Watcher], None]) -> None:
        self._heartbeat = heartbeat
        self._leave = leave
        self._over = False
        self._waiter: Any = None
        self._woken = False
        self._called = False
        self._due = time.monotonic() + heartbeat

    def __next__(self) -> bytes | None:
        while not self._over:
            # Clear the flag, then look: who wakes it meanwhile makes it look again.
            self._woken = False
            data = self._look()
            if data or time.monotonic() >= self._due:
                self._due = time.monotonic() + self._heartbeat
                return data or None
            if not self._over and not self._woken:
                self._wait()
        self.close()
        raise StopIteration

    def wake(self) -> None:
        """Look again. Called from any greenlet of the same thread."""
        self._woken = True
        if self._waiter is not None and not self._called:
            self._called = True
            get_hub().loop.run_callback(self._turn)

    def beat(self, now: float) -> None:
        """Wake it if its heartbeat is due."""
        if now >= self._due:
            self.wake()

    def end(self) -> None:
        """Let it end at once."""
        self._over = True
        self.wake()

    def close(self) -> None:
        """Leave; more than once does no harm."""
        self.end()
        self._leave(self)

    def _wait(self) -> None:
        waiter = self._waiter = Waiter()
        try:
            waiter.get()
        finally:
            self._waiter = None

    def _turn(self) -> None:
        """In gevent's hub: serve the reader from here, or else wake the greenlet if it still waits."""
        self._called = False
        waiter = self._waiter
        if waiter is None:
            return
        served = False
        try:
            # The greenlet ends the stream, and has a turn with each heartbeat, however much
            # passes by it: whoever iterates may want to look whether to go on.
            served = not self._over and time.monotonic() < self._due and self._serve()
        finally:
            if not served:
                self._waiter = None
                waiter.switch(None)

    def _serve(self) -> bool:
        """Do without the greenlet, which waits. False where it has to look itself; must not block."""
        return False

    def _look(self) -> bytes:
        try:
            return self._advance()
        except StreamUnavailable:
            gevent.sleep(RETRY_AFTER)
            self._woken = True
            return b""

    def _advance(self) -> bytes:
        """What there is to send now; may set ``_over``. Raises StreamUnavailable."""
        raise NotImplementedError


class Follower(Watcher):
    """Follows a thread's log, or one run of it, from a cursor on.

    Ends after ``run.completed`` of its run, after ``thread.deleted``, and when the
    log cannot be followed further: then ``reset`` says why, and a stream of a whole
    thread has yielded the ``reset`` event last.
    """

    __slots__ = ("_epoch", "_feed", "_outlet", "_read", "_run_id", "_seq", "reset")

    def __init__(
        self,
        feed: Feed,
        run_id: str | None,
        read: Callable[[Cursor], tuple[list[Encoded], str | None]],
        heartbeat: float,
        leave: Callable[[Watcher], None],
        outlet: Outlet | None = None,
    ) -> None:
        super().__init__(heartbeat, leave)
        self._outlet = outlet
        self._feed = feed
        self._run_id = run_id
        self._read = read
        self._epoch, self._seq = "", 0
        self.reset: str | None = None
        """Why it ended: epoch, gap or trimmed; None where it ended otherwise, or not yet."""

    @property
    def cursor(self) -> Cursor:
        """How far it has come."""
        return Cursor(self._epoch, self._seq)

    def start(self, cursor: Cursor | None) -> None:
        """Begin at ``cursor``; None: where the feed, which is open, is now."""
        place = cursor or self._feed.cursor
        if place is not None:
            self._epoch, self._seq = place.epoch, place.seq

    def start_at_run(self) -> bool:
        """Begin before the first entry of its run; False where the feed does not hold that."""
        place = self._feed.beginning(self._run_id) if self._run_id else None
        if place is not None:
            self.start(place)
        return place is not None

    def _advance(self) -> bytes:
        while True:
            passage, more = self._feed.passage(self._epoch, self._seq, self._run_id), False
            if passage is None:
                entries, self.reset = self._read(self.cursor)
                if self.reset:
                    self._over = True
                    return b"" if self._run_id else encode_reset(self._feed.thread_id, self.reset)
                passage, more = select(entries, self._seq, self._run_id), bool(entries)
            self._seq = passage.seq
            if passage.ends:
                self._over = True
            # Where all that was read is of other runs, nobody would wake us for what follows on it.
            if passage.data or passage.ends or not more:
                return passage.data

    def _serve(self) -> bool:
        if self._outlet is None or not self._outlet.open:
            return False
        passage = self._feed.passage(self._epoch, self._seq, self._run_id)
        if passage is None or passage.ends or len(passage.data) >= MOST_BYTES:
            return False
        served = not passage.data or self._outlet.offer(passage.data)
        self._seq = passage.seq
        return served

    def _wait(self) -> None:
        super()._wait()
        if self._outlet is not None:
            self._outlet.finish()


class HintReader(Watcher):
    """Follows the hints of a workspace. Where it missed some it yields a ``reload`` hint."""

    __slots__ = ("_board", "_seq")

    def __init__(self, board: Board, heartbeat: float, leave: Callable[[Watcher], None]) -> None:
        super().__init__(heartbeat, leave)
        self._board = board
        self._seq = board.seq

    def _advance(self) -> bytes:
        hints = self._board.after(self._seq)
        self._seq = self._board.seq
        return RELOAD if hints is None else b"".join(hints)


def encode_hint(hint: bytes) -> bytes:
    """A hint as it is sent; its ``type`` names the event."""
    return b"event: %b\ndata: %b\n\n" % (str(orjson.loads(hint)["type"]).encode(), hint)


RELOAD = encode_hint(b'{"type":"reload"}')
"""Hints may have been missed: read the lists again."""
