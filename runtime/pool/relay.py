"""The relay: from a child's output to the event log of its thread.

Two greenlets share a :class:`~runtime.pool.transcript.Transcript`. One reads what the
child says; the other appends it. What is said while an append is under way goes
with the next one, so a burst costs few appends and a single word waits for
nothing. The reader waits while too much is unappended, so that a flood stops at
the child's own pipe.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import gevent
import gevent.lock
from gevent.event import Event as Flag

from runtime import events
from runtime.child import Child, RemoteChild, protocol
from runtime.errors import (
    AttemptEnded,
    LogLost,
    OutputTooLarge,
    StaleAttempt,
    StoreUnavailable,
    StreamUnavailable,
)
from runtime.model import Message, RunStatus
from runtime.pool.attempt import Attempt, Stop
from runtime.queue import announcer as announce
from runtime.services import Services
from runtime.store import attempts
from runtime.stream import Hint, OpenMessage

log = logging.getLogger(__name__)

_UNAPPENDED = 256 * 1024
"""Bytes of output that may wait to be appended."""
_INBOX_LINES = 1000
"""Lines that are taken from the inbox at a time."""
_ENDS = (protocol.Done, protocol.Failed, protocol.Confirm)
"""After one of these nothing more that a worker says counts."""
_PATIENCE = 0.25
"""Seconds between two tries while Redis or the database is away."""


class Relay:
    """Carries the output of one attempt."""

    def __init__(self, attempt: Attempt, services: Services) -> None:
        self.attempt = attempt
        self._database = services.database
        self._log = services.log
        self._notices = services.notices
        self._coalesce = services.settings.run.coalesce_ms / 1000
        self._inbox = protocol.Decoder()
        self._inbox_read = gevent.lock.BoundedSemaphore()
        self._number = 0
        """How many events of this attempt were appended."""
        self._appended_at = 0.0
        self._waiting = 0
        self._room = Flag()
        self._room.set()
        self._ended = False
        self._in_step = True
        """Whether the log has all that we believe it has."""
        self._readers: list[gevent.Greenlet[..., None]] = []

    def begin(self, first: Sequence[events.Event]) -> None:
        """Open the log for this attempt; where Redis is away, go on without."""
        run, state = self.attempt.run, self.attempt.claim.output_state
        try:
            if run.attempt > 1:
                earlier = self.attempt.claim.earlier
                announce.close_gaps(self._log, run.thread_id, run.id, run.attempt, earlier)
                self._log.announce(run.thread_id, run.id, run.attempt, self._past())
            self._log.begin(run.thread_id, run.id, run.attempt, first, lambda: announce.birth(run, state))
        except StreamUnavailable:
            self._in_step = False
        self._number = len(first)

    def _past(self) -> list[events.Event]:
        """What came before this attempt; of which the log has most, or all."""
        run, claim = self.attempt.run, self.attempt.claim
        told = announce.past(run, claim.output_state, claim.earlier)
        if run.attempt - 1 not in {message.attempt for message in claim.earlier}:  # it was lost
            told.append(events.run_retried(replace(run, attempt=run.attempt - 1, status=RunStatus.QUEUED)))
        return told

    def run(self, child: Child | RemoteChild) -> None:
        """Relay until the child says that it is done, or its output ends.

        Raises StaleAttempt if the attempt is no longer ours.
        """
        self._readers = [gevent.spawn(self._read, child), gevent.spawn(self._read_log, child)]
        transcript = self.attempt.transcript
        while not self._ended and transcript.result is None:
            self.attempt.wake.wait()
            self.attempt.wake.clear()
            self._hold_back()
            self.flush()
            self._waiting = 0
            self._room.set()
        self.flush()

    def wait_for_log(self, seconds: float) -> None:
        """Give stderr so long to end; what explains a failure is often written last."""
        gevent.joinall(self._readers, timeout=seconds)

    def end(self) -> None:
        """The child is gone; nothing is read any more."""
        self._room.set()
        gevent.killall(self._readers)

    def take(self, said: Sequence[protocol.WorkerEvent], size: int) -> None:
        """Note what the child said; ``size`` bytes of it."""
        try:
            self.attempt.transcript.apply(said)
        except OutputTooLarge:
            self.attempt.stop(Stop.TOO_LARGE)
        self._waiting += size
        if self._waiting > _UNAPPENDED:
            self._room.clear()
        self.attempt.wake.set()

    def flush(self) -> None:
        """Append all that is due, and commit messages that have ended.

        Those that ended with the run itself are committed together with its status.
        """
        transcript = self.attempt.transcript
        while True:
            batch = transcript.next_batch()
            if batch.events:
                self._append(batch.events)
            if not batch.to_commit or transcript.result is not None:
                return
            self._save(batch.to_commit)
            transcript.mark_committed(batch.to_commit)

    def close(self, last: Sequence[events.Event], hint: Hint) -> bool:
        """Append what is left and ``last``, and send ``hint``. False where Redis is away."""
        due = [*self.attempt.transcript.next_batch().events, *last]
        try:
            self._append_once(due, hint)
        except (StreamUnavailable, AttemptEnded):
            return False
        return True

    def read_inbox(self) -> None:
        """Take what the worker sent over HTTP instead of its stdout. Raises StreamUnavailable."""
        run = self.attempt.run
        with self._inbox_read:
            while lines := self._notices.inbox_pop(run.thread_id, run.id, run.attempt, _INBOX_LINES):
                chunk = b"\n".join(lines) + b"\n"
                self.take(self._inbox.feed(chunk), len(chunk))
                self._room.wait()

    def _read(self, child: Child | RemoteChild) -> None:
        decoder = protocol.Decoder()
        try:
            while chunk := child.read():
                self._take_in_order(decoder.feed(chunk), len(chunk))
                self._room.wait()
            self._take_in_order(decoder.end(), 0)
        except OutputTooLarge:
            self.attempt.stop(Stop.TOO_LARGE)
            while child.read():
                pass
        finally:
            self._ended = True
            self.attempt.wake.set()

    def _take_in_order(self, said: Sequence[protocol.WorkerEvent], size: int) -> None:
        """Take ``said``, but never an end before what the worker had sent over HTTP until then."""
        if any(isinstance(one, _ENDS) for one in said):
            try:
                self.read_inbox()
            except StreamUnavailable:
                log.warning("run %s: its inbox could not be read before its end", self.attempt.run.id)
        self.take(said, size)

    def _read_log(self, child: Child | RemoteChild) -> None:
        while chunk := child.read_log():
            self.attempt.transcript.log.write(chunk)

    def _hold_back(self) -> None:
        """Shortly after an append, let deltas gather; anything else goes at once."""
        until = self._appended_at + self._coalesce
        while not self._ended and not self.attempt.transcript.urgent and self._room.is_set():
            rest = until - time.monotonic()
            if rest <= 0 or not self.attempt.wake.wait(rest):
                return
            self.attempt.wake.clear()

    def _append(self, due: list[events.Event]) -> None:
        """Append, for as long as it takes Redis to come back and nothing else is held up."""
        while True:
            try:
                return self._append_once(due)
            except (StreamUnavailable, LogLost):
                if self.attempt.stopped or self._ended or not self._room.is_set():
                    # Nobody could read it now; it is in the message that is committed, and
                    # readers are told all of it once the log is opened again.
                    self._in_step = False
                    self._number += len(due)
                    return
                gevent.sleep(_PATIENCE)

    def _append_once(self, due: list[events.Event], hint: Hint | None = None) -> None:
        if not due:
            return
        run = self.attempt.run
        if not self._in_step:
            self._reopen(due)
        try:
            self._log.append(run.thread_id, run.id, run.attempt, self._number + 1, due, hint)
        except LogLost:
            self._reopen(due)
            self._log.append(run.thread_id, run.id, run.attempt, self._number + 1, due, hint)
        self._number += len(due)
        self._appended_at = time.monotonic()

    def _reopen(self, due: Sequence[events.Event]) -> None:
        """Redis forgot this attempt: prove that it is ours, and give back what it had before ``due``."""
        run = self.attempt.run
        self._database.read(attempts.assert_current, run)
        fresh = Counter(event.message_id for event in due if event.type == events.MESSAGE_DELTA)
        unknown = {event.message_id for event in due if event.type == events.MESSAGE_CREATED}
        known = []
        for writing in self.attempt.transcript.emitted_messages():
            n = (writing.emitted or 0) - fresh[writing.message.id]
            if writing.message.id not in unknown:
                message, text = writing.message.encode(), "".join(writing.deltas[:n])
                known.append(OpenMessage(writing.message.id, run.id, run.attempt, message, text, n))
        complete = self.attempt.transcript.committed
        self._log.reopen(run.thread_id, run.id, run.attempt, self._number, known, complete)
        self._in_step = True

    def _save(self, messages: Sequence[Message]) -> None:
        while True:
            try:
                self._database.write(attempts.save_messages, self.attempt.run, messages)
            except StoreUnavailable:
                if self.attempt.lost:
                    raise StaleAttempt from None
                gevent.sleep(_PATIENCE)
            else:
                return
