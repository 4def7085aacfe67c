"""The relay: carries the output of a child to the event log of its thread.

Two greenlets share a :class:`~runtime.pool.transcript.Transcript`. One reads the child's
output into it; the other appends its batches to the log. Output that arrives while an
append is under way goes with the next one, so a burst costs few appends, and a single
word is appended at once. The reader pauses while more than 256 KiB wait to be appended:
the pipe fills, and a child that floods blocks.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

import gevent
import gevent.lock
from gevent.event import Event as Flag

from runtime import events, logs
from runtime.child import Child, protocol
from runtime.child.egress import Access
from runtime.errors import (
    AttemptEnded,
    LogLost,
    OutputLost,
    OutputTooLarge,
    StaleAttempt,
    StoreUnavailable,
    StreamUnavailable,
    Unavailable,
    WorkerInvalid,
)
from runtime.model import Json, Message, MessageType, RunError, RunStatus
from runtime.pool.attempt import Attempt, StopReason
from runtime.pool.calls import Calls
from runtime.pool.continuation import Continuation
from runtime.pool.durable_steps import DurableSteps
from runtime.pool.made_files import MadeFiles
from runtime.pool.steering import Steering
from runtime.queue import announcer
from runtime.registry.config_schema import ConfigSchema
from runtime.services import Services
from runtime.store import attempts
from runtime.stream import Hint, Line, OpenMessage

log = logging.getLogger(__name__)

_MAX_UNAPPENDED = 256 * 1024
"""Bytes of output that may wait to be appended before reading pauses."""
_INBOX_LINES = 1000
"""Lines that are read from the inbox at a time."""
_MOST_ACCESSES = 100
"""Hosts that a run's steps name; a worker that tries names at random is not to fill them."""
_LAST_EVENTS = (protocol.Done, protocol.Failed, protocol.Confirm, protocol.Discard)
"""Events that end an attempt: what a worker sends after one of them is ignored."""
_CALLS = (protocol.Call, protocol.Follow)
_ASKED = (protocol.Save, protocol.ReadInbox, protocol.Refused, *_CALLS)
"""Events that the worker waits for an answer to."""
_RETRY_PAUSE = 0.25
"""Seconds between two tries while Redis or the database is away."""

Send = Callable[[bytes], None]
"""Sends a line to the worker that has asked for something."""


class Relay:
    """Carries the output of one attempt."""

    def __init__(self, attempt: Attempt, services: Services, calls: Calls, elsewhere: bool = False) -> None:
        """``elsewhere``: a machine elsewhere executes it, whose lines all come by the inbox."""
        self.attempt = attempt
        self._calls = calls
        self._database = services.database
        self._log = services.log
        self._worker_lines = services.inbox
        self._coalesce_seconds = services.settings.run.coalesce_ms / 1000
        self._steps = DurableSteps(attempt, services.database)
        self._steering = Steering(attempt, services.database, services.settings)
        self._made_files = MadeFiles(attempt, services.database)
        self._inbox = protocol.Decoder(elsewhere=elsewhere)
        self._inbox_lock = gevent.lock.BoundedSemaphore()
        self._appended = 0
        """Run-local number of the last event that was appended, or given up (see ``_in_sync``)."""
        self._appended_at = 0.0
        self._unappended = 0
        """Bytes read since the last flush. What arrives during one is not counted: the limit is rough."""
        self._room = Flag()
        """Set while the child's output may be read."""
        self._room.set()
        self._output_ended = False
        self._accesses: set[Access] = set()
        """Where its worker has connected, and where it was refused."""
        self._in_sync = True
        """False while the log lacks events that were given up.

        The next append first reopens the log with the full text of the open messages.
        """
        self._continued: Continuation | None = None
        """The text of an earlier attempt that this one goes on with."""
        self._readers: list[gevent.Greenlet[..., None]] = []
        self._fault: Exception | None = None

    @property
    def looks_to_keep(self) -> int | None:
        """How often the worker has looked into its inbox, if more looks are committed."""
        return self._steering.looks_to_keep

    def go_on_with(self, continued: Continuation) -> None:
        """This attempt goes on with the text of the one before, of which the log already knows."""
        self._continued = continued

    def open_log(self, first: Sequence[events.Event]) -> None:
        """Register this attempt in the event log, and append the events ``first``.

        From the second attempt on, what the log may have missed is restored before. If Redis is
        unavailable, the log is reopened later.
        """
        run, state = self.attempt.run, self.attempt.claim.output_state
        if self._continued is not None:
            return self._go_on(self._continued, first)
        try:
            if run.attempt > 1:
                earlier = self.attempt.claim.earlier
                announcer.reset_if_incomplete(self._log, run.thread_id, run.id, run.attempt, earlier)
                self._log.announce(run.thread_id, run.id, run.attempt, self._history())
            self._log.begin(
                run.thread_id, run.id, run.attempt, first, lambda: announcer.creation_events(run, state)
            )
        except StreamUnavailable:
            self._in_sync = False
        self._appended = len(first)

    def _go_on(self, continued: Continuation, first: Sequence[events.Event]) -> None:
        """Open the log for an attempt that goes on with what is open in it."""
        run, claim = self.attempt.run, self.attempt.claim
        ids = [message.id for message, _ in continued.open]
        batch = [events.run_continued(run, ids, continued.void), *first]
        try:
            if continued.in_log:
                announcer.reset_if_incomplete(self._log, run.thread_id, run.id, run.attempt, claim.earlier)
                history = announcer.history_events(run, claim.output_state, claim.earlier)
                self._log.announce(run.thread_id, run.id, run.attempt, history)
            self._in_sync = continued.in_log
            self._append_once(batch)
        except (StreamUnavailable, LogLost, StoreUnavailable):
            self._in_sync = False
            self._appended = len(batch)

    def _history(self) -> list[events.Event]:
        """The run's events before this attempt. Those that are in the log are skipped by their keys."""
        run, claim = self.attempt.run, self.attempt.claim
        history = announcer.history_events(run, claim.output_state, claim.earlier)
        asked = {message.attempt for message in claim.earlier if message.type is MessageType.CONFIRMATION}
        if run.attempt - 1 not in asked:
            # The attempt before did not end with a question: it failed, was handed back, or was lost.
            requeued = replace(run, attempt=run.attempt - 1, status=RunStatus.QUEUED)
            history.append(events.run_retried(requeued))
        return history

    def run(self, child: Child) -> None:
        """Relay until the worker reports its end, or its output ends.

        Raises StaleAttempt if the attempt no longer holds the run, and what reading has met that
        nobody expected.
        """
        child.on_access(self._report_access)
        readers = (self._read_output, self._read_log)
        self._readers = [gevent.spawn(logs.same(self._read), reader, child) for reader in readers]
        transcript = self.attempt.transcript
        while not self._output_ended and transcript.result is None:
            self.attempt.wake.wait()
            self.attempt.wake.clear()
            self.raise_fault()
            self._coalesce()
            self.flush()
            self._unappended = 0
            self._room.set()
        self.raise_fault()
        self.flush()

    def wait_for_log(self, seconds: float) -> None:
        """Wait up to ``seconds`` for stdout and stderr to end: what explains a failure comes last."""
        gevent.joinall(self._readers, timeout=seconds)

    def stop_reading(self) -> None:
        """Stop both readers. To be called once the child has ended."""
        self._room.set()
        gevent.killall(self._readers)

    def fail(self, error: Exception) -> None:
        """Something that the worker has sent could not be received: without it, its text has a hole.

        The attempt ends with that error, unless it has ended already.
        """
        log.error("run %s: its output could not be read", self.attempt.run.id, exc_info=error)
        self._fault = self._fault or error
        self.attempt.wake.set()

    def raise_fault(self) -> None:
        """Raise what :meth:`fail` was told first, if it was."""
        if self._fault is not None:
            raise self._fault

    def receive(self, worker_events: Sequence[protocol.WorkerEvent], size: int) -> None:
        """Add events to the transcript, count their ``size`` in bytes, and wake the relay."""
        try:
            self.attempt.transcript.apply(worker_events)
        except OutputTooLarge:
            self.attempt.stop(StopReason.TOO_LARGE)
        self._unappended += size
        if self._unappended > _MAX_UNAPPENDED:
            self._room.clear()
        self.attempt.wake.set()

    def flush(self) -> None:
        """Append and commit in turn until nothing is left.

        Once the worker has reported its end, messages are left to be committed with the run's status.
        """
        transcript = self.attempt.transcript
        while True:
            batch = transcript.next_batch()
            if batch.events:
                self._append(batch.events)
            if not batch.to_commit or transcript.result is not None:
                return
            self._commit(batch.to_commit)
            transcript.mark_committed(batch.to_commit)

    def close(self, last: Sequence[events.Event], hint: Hint) -> bool:
        """Append the remaining events and ``last``, and send ``hint`` with them.

        False if Redis is unavailable, or the log refuses this attempt. All messages must be
        marked as committed before.
        """
        rest = [*self.attempt.transcript.next_batch().events, *last]
        try:
            self._append_once(rest, hint)
        except (StreamUnavailable, LogLost, StoreUnavailable, AttemptEnded):
            return False
        return True

    def read_inbox(self) -> None:
        """Receive what the worker sent over HTTP, beside its stdout. Raises StreamUnavailable.

        Where some of that is lost, the attempt fails, and the run is tried again.
        """
        try:
            with self._inbox_lock:
                self._receive_inbox()
        except OutputLost as error:
            self.attempt.transcript.fail(RunError("lost", str(error), retryable=True))
            self.attempt.wake.set()

    def _receive_inbox(self) -> None:
        run = self.attempt.run
        attempt = run.thread_id, run.id, run.attempt
        while kept := self._worker_lines.pop(*attempt, _INBOX_LINES):
            for token, lines in groupby(map(Line.decode, kept), lambda line: line.token):
                chunk = b"\n".join(line.content for line in lines) + b"\n"
                send = partial(self._answer_request, token) if token else self._to_child
                self._receive_and_answer(self._inbox.feed(chunk), len(chunk), send)
            self._room.wait()

    def _answer_request(self, token: str, answer: bytes) -> None:
        """Answer the request by which a worker has asked. Who gets no answer asks again."""
        run = self.attempt.run
        try:
            self._worker_lines.answer(run.thread_id, run.id, run.attempt, token, answer)
        except StreamUnavailable:
            log.warning("run %s: a request of its worker could not be answered", run.id)

    @property
    def _to_child(self) -> Send | None:
        """How the child is answered; None where it reads nothing but its run."""
        child = self.attempt.child
        return child.send if child is not None and child.listens else None

    def _read(self, reader: Callable[[Child], None], child: Child) -> None:
        try:
            reader(child)
        except Exception as error:
            self.fail(error)

    def _read_output(self, child: Child) -> None:
        decoder = protocol.Decoder()
        try:
            while chunk := child.read():
                self._receive_in_order(decoder.feed(chunk), len(chunk))
                self._room.wait()
            self._receive_in_order(decoder.end(), 0)
        except OutputTooLarge:  # one line is too long; read on, so that the child does not block
            self.attempt.stop(StopReason.TOO_LARGE)
            while child.read():
                pass
        finally:
            self._output_ended = True
            self.attempt.wake.set()

    def _receive_in_order(self, worker_events: Sequence[protocol.WorkerEvent], size: int) -> None:
        """Receive events of stdout. One that ends the attempt waits for the inbox: later input is ignored."""
        if any(isinstance(event, _LAST_EVENTS) for event in worker_events):
            try:
                self.read_inbox()
            except StreamUnavailable:
                log.warning("run %s: its inbox could not be read before its end", self.attempt.run.id)
        self._receive_and_answer(worker_events, size, self._to_child)

    def _receive_and_answer(
        self, worker_events: Sequence[protocol.WorkerEvent], size: int, send: Send | None
    ) -> None:
        """Receive events, in order; what asks for something is answered before more is received."""
        rest: list[protocol.WorkerEvent] = []
        for event in worker_events:
            if isinstance(event, protocol.Confirm) and event.schema is not None:
                event = _checked(event, event.schema)
            if isinstance(event, protocol.CompleteMessage) and event.files:
                event = self._made_files.name(event)
            if not isinstance(event, _ASKED):
                rest.append(event)
                continue
            self.receive(rest, 0)
            rest = []
            self._answer(event, send)
        self.receive(rest, size)

    def _answer(self, asked: protocol.WorkerEvent, send: Send | None) -> None:
        """Have that answered what the worker asks for. Waits until it is done, but for no sub-run.

        ``send`` is None where the worker reads no answer.
        """
        match asked:
            case protocol.Call() | protocol.Follow() | protocol.Refused("call"):
                self._calls.handle(asked, send)
            case protocol.ReadInbox():
                self._steering.handle(asked, send)
            case protocol.Save() | protocol.Refused():
                self._steps.handle(asked, send or _nobody)

    def _report_access(self, access: Access) -> None:
        """Show once as a step of the run where a strict worker connects, or is refused."""
        if access in self._accesses or len(self._accesses) >= _MOST_ACCESSES:
            return
        if self.attempt.transcript.result is not None:
            return  # it has reported its end, and nothing is shown after that
        self._accesses.add(access)
        if access.refused is not None:
            self.attempt.transcript.log.write(f"[branchline] {access}\n".encode())
        self.receive([protocol.Step(str(access))], 0)

    def _read_log(self, child: Child) -> None:
        while chunk := child.read_log():
            self.attempt.transcript.log.write(chunk)

    def _coalesce(self) -> None:
        """Wait up to ``coalesce_ms`` after the last append, so that deltas are joined.

        Returns at once for other events, at the end of the output, and when reading is paused.
        """
        until = self._appended_at + self._coalesce_seconds
        while not self._output_ended and not self.attempt.transcript.urgent and self._room.is_set():
            rest = until - time.monotonic()
            if rest <= 0 or not self.attempt.wake.wait(rest):
                return
            self.attempt.wake.clear()

    def _append(self, batch: list[events.Event]) -> None:
        """Append, and retry while Redis is unavailable, or the database that a lost log is opened again with.

        Gives up once the attempt is stopped, its output has ended, or reading is paused.
        """
        while True:
            try:
                return self._append_once(batch)
            except (StreamUnavailable, LogLost, StoreUnavailable):
                if self.attempt.stopped or self._output_ended or not self._room.is_set():
                    # Given up: the text is in the message that will be committed, and readers
                    # get all of it when the log is opened again.
                    self._in_sync = False
                    self._appended += len(batch)
                    return
                gevent.sleep(_RETRY_PAUSE)

    def _append_once(self, batch: list[events.Event], hint: Hint | None = None) -> None:
        if not batch:
            return
        run = self.attempt.run
        if not self._in_sync:
            self._reopen_log(batch)
        try:
            self._log.append(run.thread_id, run.id, run.attempt, self._appended + 1, batch, hint)
        except LogLost:
            self._reopen_log(batch)
            self._log.append(run.thread_id, run.id, run.attempt, self._appended + 1, batch, hint)
        self._appended += len(batch)
        self._appended_at = time.monotonic()

    def _reopen_log(self, batch: Sequence[events.Event]) -> None:
        """Open a log again that Redis has lost, in the state that it had before ``batch``.

        First the database confirms that this attempt still holds the run. The log is then given
        the open messages with their text so far. The transcript counts ``batch`` as emitted
        already, so its deltas and the messages that it creates are left out: they are appended next.
        Raises StaleAttempt.
        """
        run = self.attempt.run
        self._database.read(attempts.assert_current, run)
        deltas = Counter(event.message_id for event in batch if event.type == events.MESSAGE_DELTA)
        created = {event.message_id for event in batch if event.type == events.MESSAGE_CREATED}
        open_messages = []
        for written in self.attempt.transcript.emitted_messages():
            message_id = written.message.id
            if message_id not in created:
                n = (written.emitted or 0) - deltas[message_id]
                text = "".join(written.deltas[:n])
                open_messages.append(
                    OpenMessage(message_id, run.id, run.attempt, written.message.encode(), text, n)
                )
        committed = self.attempt.transcript.committed
        self._log.reopen(run.thread_id, run.id, run.attempt, self._appended, open_messages, committed)
        self._in_sync = True

    def _commit(self, messages: Sequence[Message]) -> None:
        """Commit messages, and retry while the database is unavailable and the lease is held."""
        while True:
            try:
                self._database.write(attempts.save_messages, self.attempt.run, messages)
            except StoreUnavailable:
                if self.attempt.lost:
                    raise StaleAttempt from None
                gevent.sleep(_RETRY_PAUSE)
            else:
                return


def _nobody(answer: bytes) -> None:
    """Nobody reads the answer."""


def _checked(asked: protocol.Confirm, schema: Mapping[str, Json]) -> protocol.Confirm | protocol.Failed:
    """The question, or that nobody could answer it."""
    try:
        ConfigSchema(schema, "answer")
    except WorkerInvalid as error:
        return protocol.Failed(f"The question {asked.id!r} cannot be answered: {error}.", retryable=False)
    except Unavailable as error:
        return protocol.Failed(str(error), retryable=True)
    return asked
