"""The hub of a web process: feeds every open stream from one pub/sub connection (gevent).

Per watched thread there is one feed. A wake-up carries the entries that were appended,
if they are small; the feed appends those that follow on its cursor, and reads Redis
where they do not. All streams of the thread are served from the feed; a follower that
is too far behind for it reads Redis itself. The feeds of lost wake-ups are found and
read within ``reread`` seconds, and all of them after a lost connection.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

import gevent
from gevent.lock import BoundedSemaphore
from gevent.queue import Empty, SimpleQueue

from runtime import settings
from runtime.duties import Duties, every
from runtime.errors import StreamUnavailable
from runtime.events import Cursor
from runtime.stream.combined import Combined
from runtime.stream.connection import Link
from runtime.stream.entries import BATCH_BYTES, Entry, decode_wakeup
from runtime.stream.feed import Feed
from runtime.stream.follower import DirectWriter, Follower
from runtime.stream.hints import RELOAD, HintFeed, HintReader, decode_hint
from runtime.stream.log import EventLog
from runtime.stream.pubsub import Subscriber
from runtime.stream.watcher import Watcher

log = logging.getLogger(__name__)

READERS = 8
"""Feeds that are read from Redis at once, and streams that read it themselves."""

IDLE = 5.0
"""Seconds after which a reader that has nothing to read says that it is there."""

RETRY_AFTER = 0.5
"""Seconds after which a feed that could not be read is read again."""

CHECKED_AT_ONCE = 200
"""Quiet feeds that are checked for missed entries with one call."""

HINTS_KEPT = 256
"""Hints of a workspace that are kept for its slower readers."""

READ_AT_ONCE = 100
"""Entries that a stream reads at once where its feed no longer has them."""


class Stats(NamedTuple):
    """What the hub does now."""

    streams: int
    threads: int
    """Threads that are watched."""
    reads: int
    """Times that the log was read since the start."""


class Hub:
    """Starts its greenlets with the first stream, so that it may be made before a fork."""

    def __init__(self, log: EventLog, link: Link, limits: settings.Stream, duties: Duties) -> None:
        """``duties``: those of this process, which its own become part of."""
        self._duties = duties
        self._log = log
        self._link = link
        self._limits = limits
        self._feeds: dict[str, Feed] = {}
        self._hint_feeds: dict[str, HintFeed] = {}
        self._watchers: set[Watcher] = set()
        self._due: SimpleQueue[Feed] = SimpleQueue()
        self._read_slots = BoundedSemaphore(READERS)
        """Taken by streams that read Redis themselves, so that many of them leave connections to others."""
        self._subscriber = Subscriber(
            link, self._on_message, self._on_subscribed, duties=duties, duty="receive wake-ups"
        )
        self._greenlets: list[gevent.Greenlet[..., None]] = []
        self._closed = False
        self._reads = 0

    # ── for streams ──

    def follow(
        self,
        thread_id: str,
        cursor: Cursor | None,
        run_id: str | None = None,
        writer: DirectWriter | None = None,
    ) -> Follower:
        """Follow a thread, or one run of it, from ``cursor`` on (None: from now on).

        Iterate over the result: batches to send, None as heartbeat. What can be sent
        with ``writer`` while it waits is not yielded. Close it when done. Raises
        StreamUnavailable when Redis is away now.
        """
        follower = self._watch(thread_id, run_id, writer)
        follower.start(cursor)
        return follower

    def follow_run(self, thread_id: str, run_id: str, writer: DirectWriter | None = None) -> Follower | None:
        """Follow a run from its first entry on. None where the feed does not hold that.

        The first watcher's feed reads the run's entries with one call of Redis; later
        watchers get them from the feed while that holds them. Otherwise like ``follow``,
        but while Redis is known to be away it does not wait for it.
        """
        if self._subscriber.failing:
            return None
        follower = self._watch(thread_id, run_id, writer, first_run=run_id)
        if follower.start_at_run():
            return follower
        follower.close()
        return None

    def follow_all(
        self, workspace_id: str, cursors: Mapping[str, Cursor], writer: DirectWriter | None = None
    ) -> Combined:
        """The hints of a workspace, and the threads of ``cursors``; like ``follow`` otherwise."""
        self._start()
        combined = Combined(self._limits.heartbeat, self._watchers.discard, writer)
        self._watchers.add(combined)
        try:
            combined.add(self._hints(workspace_id, combined))
            for thread_id, cursor in cursors.items():
                follower = self._watch(thread_id, None, None, combined=combined)
                combined.add(follower)
                follower.start(cursor)
        except BaseException:
            combined.close()
            raise
        return combined

    def hints(self, workspace_id: str) -> HintReader:
        """The hints of a workspace from now on; like ``follow`` otherwise."""
        return self._hints(workspace_id)

    def _hints(self, workspace_id: str, combined: Combined | None = None) -> HintReader:
        self._start()
        channel = self._link.keys.workspace(workspace_id)
        feed = self._hint_feeds.get(channel)
        if feed is None:
            feed = self._hint_feeds[channel] = HintFeed(HINTS_KEPT)
            self._subscriber.add(channel)
        reader = HintReader(
            feed, self._limits.heartbeat, partial(self._leave_hint_feed, channel, feed, combined)
        )
        self._join(feed, reader, combined)
        try:
            if not feed.opened.wait(self._link.timeout):
                raise StreamUnavailable
        except BaseException:
            reader.close()
            raise
        return reader

    @property
    def feeds(self) -> list[Feed]:
        """The feeds of the watched threads."""
        return list(self._feeds.values())

    @property
    def hint_feeds(self) -> list[HintFeed]:
        """The feeds of the watched workspaces."""
        return list(self._hint_feeds.values())

    def stats(self) -> Stats:
        """How much it carries."""
        return Stats(len(self._watchers), len(self._feeds), self._reads)

    def close(self) -> None:
        """End all streams, and refuse new ones."""
        self._closed = True
        for watcher in list(self._watchers):
            watcher.end()
        self._subscriber.close()
        gevent.killall(self._greenlets, block=False)

    def _start(self) -> None:
        if self._closed:
            raise StreamUnavailable("This process is about to stop; connect again.")
        if not self._greenlets:
            step = min(1.0, self._limits.heartbeat / 4)
            start = self._duties.start
            self._greenlets = [
                *(start("read event logs", self._read_due) for _ in range(READERS)),
                start("find missed entries", self._find_missed_entries),
                start("check heartbeats", every(step, self._check_heartbeats)),
            ]

    def _watch(
        self,
        thread_id: str,
        run_id: str | None,
        writer: DirectWriter | None,
        first_run: str | None = None,
        combined: Combined | None = None,
    ) -> Follower:
        """Join the thread's feed, once that is open."""
        self._start()
        channel = self._link.keys.wake(thread_id)
        feed = self._feeds.get(channel)
        if feed is None:
            feed = self._feeds[channel] = Feed(thread_id, self._limits.ring, first_run)
            self._subscriber.add(channel)
        on_close = partial(self._leave_feed, channel, feed, combined)
        read = partial(self._read, thread_id)
        follower = Follower(feed, run_id, read, self._limits.heartbeat, on_close, writer)
        self._join(feed, follower, combined)
        try:
            if feed.opened is not None:
                feed.opened.wait(self._link.timeout)
            if feed.cursor is None:
                raise StreamUnavailable
        except BaseException:
            follower.close()
            raise
        return follower

    def _join(self, source: Feed | HintFeed, watcher: Watcher, combined: Combined | None) -> None:
        """Have ``watcher`` woken, or ``combined`` where it is a part of that."""
        source.watchers.add(combined or watcher)
        if combined is None:
            self._watchers.add(watcher)

    def _leave_feed(self, channel: str, feed: Feed, combined: Combined | None, watcher: Watcher) -> None:
        self._watchers.discard(watcher)
        feed.watchers.discard(combined or watcher)
        if not feed.watchers and self._feeds.get(channel) is feed:
            del self._feeds[channel]
            self._subscriber.remove(channel)

    def _leave_hint_feed(
        self, channel: str, feed: HintFeed, combined: Combined | None, watcher: Watcher
    ) -> None:
        self._watchers.discard(watcher)
        feed.watchers.discard(combined or watcher)
        if not feed.watchers and self._hint_feeds.get(channel) is feed:
            del self._hint_feeds[channel]
            self._subscriber.remove(channel)

    def _read(self, thread_id: str, cursor: Cursor) -> tuple[list[Entry], str | None]:
        self._reads += 1
        with self._read_slots:
            chunk = self._log.read(thread_id, cursor, READ_AT_ONCE, BATCH_BYTES)
        return chunk.entries, chunk.reset

    # ── wake-ups ──

    def _on_message(self, channel: str, message: bytes) -> None:
        if feed := self._feeds.get(channel):
            chunk = decode_wakeup(message)
            if chunk is None or not feed.apply_wakeup(chunk):
                self._request_read(feed)
        elif hints := self._hint_feeds.get(channel):
            hints.append(decode_hint(message))

    def _on_subscribed(self, channel: str) -> None:
        if feed := self._feeds.get(channel):
            self._request_read(feed)
        elif hints := self._hint_feeds.get(channel):
            if hints.opened.is_set():
                hints.append(RELOAD)
            hints.opened.set()

    def _request_read(self, feed: Feed) -> None:
        feed.read_requested = True
        if not feed.scheduled:
            feed.scheduled = True
            self._due.put(feed)

    # ── greenlets ──

    def _read_due(self) -> Iterator[None]:
        while True:
            yield
            try:
                feed = self._due.get(timeout=IDLE)
            except Empty:
                continue
            try:
                while feed.read_requested:
                    # Clear the flag, then read: a wake-up during the reading is not lost.
                    feed.read_requested = False
                    while self._read_on(feed):
                        pass
                feed.scheduled = False
            except Exception as error:  # whatever it is, this feed and the others must go on
                if not isinstance(error, StreamUnavailable):
                    log.exception("thread %s could not be read", feed.thread_id)
                feed.read_requested = True
                gevent.spawn_later(RETRY_AFTER, self._due.put, feed)

    def _read_on(self, feed: Feed) -> bool:
        """Read once; whether there is more."""
        if feed.cursor is None:
            self._open(feed)
            return False
        self._reads += 1
        chunk = self._log.read(feed.thread_id, feed.cursor)
        if chunk.reset:
            feed.start(self._log.cursor(feed.thread_id))
        else:
            feed.append(chunk)
        feed.wake_watchers()
        return not chunk.reset and feed.cursor.seq < chunk.head

    def _open(self, feed: Feed) -> None:
        """Begin with the entries of its first run if the log has them, else at the newest entry."""
        chunk = self._log.read_run(feed.thread_id, feed.first_run) if feed.first_run else None
        if chunk is None or chunk.entries[-1].seq < chunk.head:
            feed.start(self._log.cursor(feed.thread_id))
        else:  # all entries up to now, so that a watcher that follows from now on may share the feed
            feed.start(Cursor(chunk.epoch, chunk.entries[0].seq - 1), chunk)

    def _find_missed_entries(self) -> Iterator[None]:
        """Read the feeds whose wake-up was lost, and empty the rings of quiet ones."""
        while True:
            feeds = [feed for feed in self._feeds.values() if feed.cursor is not None]
            pause = self._limits.reread / (len(feeds) // CHECKED_AT_ONCE + 1)
            for at in range(0, len(feeds) or 1, CHECKED_AT_ONCE):
                gevent.sleep(pause)
                self._check_feeds(feeds[at : at + CHECKED_AT_ONCE])
                yield

    def _check_feeds(self, feeds: list[Feed]) -> None:
        quiet = []
        for feed in feeds:
            if feed.active:
                feed.active = False
            else:
                feed.clear()
            if feed.cursor is not None:
                quiet.append((feed, feed.cursor))
        changed = self._log.changed([(feed.thread_id, cursor) for feed, cursor in quiet]) if quiet else []
        for at in changed:
            self._request_read(quiet[at][0])

    def _check_heartbeats(self) -> None:
        now = time.monotonic()
        for watcher in self._watchers:
            watcher.check_heartbeat(now)
