"""The stream of one run: from the event log if it has the run, otherwise from the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from runtime.errors import NotFound, StreamUnavailable
from runtime.events import Cursor
from runtime.model import Run
from runtime.stream import Batch, DirectWriter, Follower, OpenMessage, reset_signal
from web.core import Core
from web.streaming.history import load_run
from web.streaming.replay import Replay, ReplayCursor

BEGINNING = (None, "0")
"""The event ids of a reader who has seen nothing: no Last-Event-ID, or ``after=0``."""


class RunStream:
    """A source of a run's events (:class:`web.streaming.sse.Source`).

    If the log loses the run while somebody reads, a reset and a replay of the run
    follow on the same connection.
    """

    def __init__(self, core: Core, run: Run, writer: DirectWriter | None = None) -> None:
        self._core = core
        self._run = run
        self._writer = writer
        """Lets the hub write entries of the log to the socket. Not used after a replay: they are filtered."""
        self._follower: Follower | None = None
        self._replay: Replay | None = None
        """What was replayed already; entries of the log that it contains are not sent again."""
        self._replay_pending = False
        """Whether the run has to be replayed from the database before anything else is sent."""
        self._reset_reason: str | None = None
        """The reason of the reset before the pending replay; None if the reader has seen nothing."""

    def open(self, last_event_id: str | None) -> bool:
        """Prepare the stream after that event id. False if there is nothing more to send.

        If Redis is unavailable, an ended run is replayed; for any other one StreamUnavailable
        is raised.
        """
        fresh = last_event_id in BEGINNING
        try:
            return self._open(last_event_id, fresh)
        except StreamUnavailable:
            if not self._run.status.terminal:
                raise
            return self._request_replay(None if fresh else "epoch")

    def __iter__(self) -> Iterator[Batch | None]:
        """A replay, if one is requested, then the log, until neither goes on.

        Ends where the run is not shown any more, because its thread has been deleted. Raises
        StreamUnavailable, StoreUnavailable.
        """
        with suppress(NotFound):
            yield from self._batches()

    def _batches(self) -> Iterator[Batch | None]:
        while True:
            if self._replay_pending:
                if self._reset_reason:
                    yield Batch([reset_signal(self._run.thread_id, self._reset_reason, self._run.id)])
                yield self._replay_run()
            if self._follower is not None:
                yield from self._follow(self._follower)
            if not self._replay_pending:
                return

    def close(self) -> None:
        """Leave the hub."""
        if self._follower is not None:
            self._follower.close()
            self._follower = None

    def _open(self, last_event_id: str | None, fresh: bool) -> bool:
        if not fresh and (replayed := ReplayCursor.decode(last_event_id or "")) is not None:
            return self._open_after_replay(replayed)
        if fresh and not self._run.status.terminal:
            self._follower = self._core.hub.follow_run(self._run.thread_id, self._run.id, self._writer)
            if self._follower is not None:
                return True
        span = self._core.log.span(self._run.thread_id, self._run.id)
        if fresh:
            cursor = span.queued and Cursor(span.queued.epoch, span.queued.seq - 1)
        elif (cursor := Cursor.decode(last_event_id or "")) is None:
            return self._request_replay("malformed")
        if cursor is None or (span.completed is None and self._run.announced_at is not None):
            # The log has lost the run's start, or had its end and was trimmed.
            return self._request_replay(None if fresh else "trimmed")
        end = span.completed
        if end is not None and end.epoch == cursor.epoch and end.seq <= cursor.seq:
            return False  # the reader has seen run.completed
        self._follower = self._core.hub.follow(self._run.thread_id, cursor, self._run.id, self._writer)
        return True

    def _open_after_replay(self, cursor: ReplayCursor) -> bool:
        """Begin after an event of a replay: replay again, unless it was the last event of an ended run."""
        run = self._run
        if cursor.run_id != run.id:
            return self._request_replay("malformed")
        if run.status.terminal and cursor.attempt == run.attempt:
            stored = self._core.database.read(load_run, run.workspace_id, run.id)
            if cursor.n == len(Replay().entries(stored, ())):
                return False
        return self._request_replay("epoch")

    def _request_replay(self, reset_reason: str | None) -> bool:
        self._replay_pending, self._reset_reason = True, reset_reason
        return True

    def _replay_run(self) -> Batch:
        """Replay the run so far.

        The cursor and the open texts are read before the database, so that nothing is missed
        that is committed in between; what comes twice is filtered out.
        """
        run, core = self._run, self._core
        self._replay_pending = False
        self.close()
        cursor: Cursor | None = None
        partials: list[OpenMessage] = []
        if not run.status.terminal:
            cursor = core.log.cursor(run.thread_id)
            partials = [each for each in core.log.open_messages(run.thread_id) if each.run_id == run.id]
        stored = core.database.read(load_run, run.workspace_id, run.id)
        self._run, self._replay = stored.run, Replay()
        entries = self._replay.entries(stored, partials)
        if not stored.run.status.terminal:
            self._follower = core.hub.follow(run.thread_id, cursor, run.id)
        return Batch(entries)

    def _follow(self, follower: Follower) -> Iterator[Batch | None]:
        """The follower's batches. If it ends with a reset, a replay is requested."""
        if self._replay is None:
            # Not a loop: its variable would hold a batch for as long as a slow reader receives it.
            yield from follower
        else:
            yield from self._new_batches(follower, self._replay)
        if follower.reset:
            self._request_replay(follower.reset)

    def _new_batches(self, follower: Follower, replay: Replay) -> Iterator[Batch | None]:
        """Batches of the follower without replayed entries; a missing delta requests a replay."""
        for batch in follower:
            if batch is None:
                yield None
                continue
            new = replay.new_entries(batch.records)
            if new is None:
                self._request_replay("gap")
                return
            if new:
                yield Batch(new)
