"""The stream of one run: from the event log while it has the run, else from the database."""

from __future__ import annotations

from collections.abc import Iterator

from runtime.errors import StreamUnavailable
from runtime.events import Cursor
from runtime.model import Run
from runtime.stream import Follower, OpenMessage, Outlet, encode_reset
from web.core import Core
from web.streaming.replay import Place, Rebuilt, recall

BEGINNING = (None, "0")
"""What a reader shows who has seen nothing."""


class RunStream:
    """A source of a run's events (:class:`web.streaming.sse.Source`).

    Where the log loses the run while somebody reads, a ``reset`` and the whole run
    follow on the same connection.
    """

    def __init__(self, core: Core, run: Run, outlet: Outlet | None = None) -> None:
        self._core = core
        self._run = run
        self._outlet = outlet
        """For what is sent as the log has it; what follows on a rebuilt beginning is not."""
        self._follower: Follower | None = None
        self._rebuilt: Rebuilt | None = None
        self._whole = False
        """Whether the whole from the database comes next,"""
        self._reset: str | None = None
        """and a reset with this reason before it."""

    def open(self, shown: str | None) -> bool:
        """Begin after the event id ``shown``. False where the run has ended and all was seen.

        Raises StreamUnavailable where only Redis could tell.
        """
        fresh = shown in BEGINNING
        try:
            return self._open(shown, fresh)
        except StreamUnavailable:
            if not self._run.status.terminal:
                raise
            return self._tell_whole(None if fresh else "epoch")

    def __iter__(self) -> Iterator[bytes | None]:
        while True:
            if self._whole:
                if self._reset:
                    yield encode_reset(self._run.thread_id, self._reset, self._run.id)
                yield self._from_database()
            if self._follower is not None:
                yield from self._from_log(self._follower)
            if not self._whole:
                return

    def close(self) -> None:
        """Leave the hub."""
        if self._follower is not None:
            self._follower.close()
            self._follower = None

    def _open(self, shown: str | None, fresh: bool) -> bool:
        if not fresh and (place := Place.decode(shown or "")) is not None:
            return self._open_at_place(place)
        if fresh and not self._run.status.terminal:
            self._follower = self._core.hub.follow_run(self._run.thread_id, self._run.id, self._outlet)
            if self._follower is not None:
                return True
        span = self._core.log.span(self._run.thread_id, self._run.id)
        if fresh:
            cursor = span.queued and Cursor(span.queued.epoch, span.queued.seq - 1)
        elif (cursor := Cursor.decode(shown or "")) is None:
            return self._tell_whole("malformed")
        if cursor is None or (span.completed is None and self._run.announced_at is not None):
            return self._tell_whole(None if fresh else "trimmed")
        end = span.completed
        if end is not None and end.epoch == cursor.epoch and end.seq <= cursor.seq:
            return False
        self._follower = self._core.hub.follow(self._run.thread_id, cursor, self._run.id, self._outlet)
        return True

    def _open_at_place(self, place: Place) -> bool:
        """After a rebuilt event. Only the last one of an ended run needs no whole any more."""
        run = self._run
        if place.run_id != run.id:
            return self._tell_whole("malformed")
        if run.status.terminal and place.attempt == run.attempt:
            known = self._core.database.read(recall, run.workspace_id, run.id)
            if place.n == len(Rebuilt().events(known, ())):
                return False
        return self._tell_whole("epoch")

    def _tell_whole(self, reset: str | None) -> bool:
        self._whole, self._reset = True, reset
        return True

    def _from_database(self) -> bytes:
        """The run so far. Afterwards the log goes on from where it was before we looked."""
        run, core = self._run, self._core
        self._whole = False
        self.close()
        cursor: Cursor | None = None
        partials: list[OpenMessage] = []
        if not run.status.terminal:
            cursor = core.log.cursor(run.thread_id)
            partials = [one for one in core.log.open_messages(run.thread_id) if one.run_id == run.id]
        known = core.database.read(recall, run.workspace_id, run.id)
        self._run, self._rebuilt = known.run, Rebuilt()
        told = self._rebuilt.events(known, partials)
        if not known.run.status.terminal:
            self._follower = core.hub.follow(run.thread_id, cursor, run.id)
        return b"".join(told)

    def _from_log(self, follower: Follower) -> Iterator[bytes | None]:
        for data in follower:
            if data is None or self._rebuilt is None:
                yield data
                continue
            new = self._rebuilt.following(data)
            if new is None:
                self._tell_whole("gap")
                return
            if new:
                yield new
        if follower.reset:
            self._tell_whole(follower.reset)
