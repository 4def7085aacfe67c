"""The transcript: one attempt's output, as messages of its run and events of its thread.

No input or output happens here. :meth:`Transcript.apply` adds what the worker has sent;
:meth:`Transcript.next_batch` returns the events that may be appended to the event log
now, with the pending deltas of a message joined into one. ``message.completed`` may be
appended only after the message was committed to the database. So a batch lists the
messages to commit, and their events come with the batch after
:meth:`Transcript.mark_committed`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace

import orjson

from runtime import events
from runtime.child import protocol
from runtime.errors import OutputTooLarge
from runtime.model import (
    Channel,
    Json,
    Message,
    MessageStatus,
    MessageType,
    Role,
    Run,
    RunError,
    new_id,
    utc_now,
)
from runtime.sdk.protocol import fitting, size_of
from runtime.settings import RunSettings
from runtime.store.usage import add

_OVERHEAD = 256
"""Bytes that every message and step counts in addition to its text, so that empty ones are bounded too."""
_ANSWER = (Role.ASSISTANT, MessageType.TEXT, Channel.ANSWER)
_MOST_SENT = 1000
"""Messages that a run may send."""
_MAX_USAGE = 64 * 1024
"""Bytes of a run's usage, which every list of runs carries along."""


@dataclass(slots=True)
class PartialMessage:
    """A message that the worker is writing."""

    message: Message
    """Without its text."""
    deltas: list[str] = field(default_factory=list)
    """Its text so far, one entry for each ``message.delta`` event."""
    pending: list[str] = field(default_factory=list)
    """Text that is not part of a delta yet."""
    size: int = 0
    """Bytes of text."""
    saved: int = 0
    """How many deltas there were when the text was last saved; only tells whether it has grown."""
    emitted: int | None = None
    """How many deltas were in a batch; None until ``message.created`` was in one."""

    def text(self) -> str:
        """All of its text so far."""
        return "".join(self.deltas) + "".join(self.pending)

    def as_message(self, status: MessageStatus) -> Message:
        """The message with its text."""
        return replace(self.message, content=self.text(), status=status)


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """How the attempt ended: done, failed, or waiting for an answer.

    Reported by the worker, or by :meth:`Transcript.fail` if it could not start.
    """

    error: RunError | None = None
    confirmation: dict[str, Json] | None = None
    discarded: bool = False
    """Whether it wants to begin anew."""
    retry_after: float | None = None
    """Seconds in which it is of no use to try again, if the worker says so."""


@dataclass(frozen=True, slots=True)
class TranscriptBatch:
    """What is to be written next, in this order."""

    events: list[events.Event]
    """To append to the event log."""
    to_commit: list[Message]
    """Then to commit to the database, before anything later may be appended."""


class Transcript:
    """One attempt's messages, steps, usage and log."""

    def __init__(self, run: Run, first_position: int, limits: RunSettings) -> None:
        """``first_position``: of the first message that it adds to its output state."""
        self.run = run
        self.log = LogTail(limits.max_log)
        self.steps: list[tuple[int, str, float]] = []
        """Number, description, and when it was received by the monotonic clock."""
        self._earlier_usage: Mapping[str, Json] | None = run.usage
        """What earlier attempts have used, and the steps of this one that are saved."""
        self._usage: Mapping[str, Json] | None = None
        """What this attempt says that it has used."""
        self._usage_grown = False
        self.data: tuple[Json, ...] = ()
        """What the worker keeps for the next one; empty if it has not said so."""
        self.finish: str | None = None
        """Why its session is to go on no more, if the worker has said so."""
        self.sent: list[Json] = []
        """What the worker sends to others of its system."""
        self.result: WorkerResult | None = None
        self.committed: list[str] = []
        """Ids of the messages that are committed."""
        self._position = first_position
        self._max_message = limits.max_message
        self._remaining = limits.max_output
        """Bytes of output that are still allowed."""
        self._open: dict[str | None, PartialMessage] = {}
        """By the worker's reference, the messages that it is writing."""
        self._continued: dict[str, PartialMessage] = {}
        """By message id, those of an earlier attempt that its worker has not gone on with yet."""
        self._uncompleted: dict[str, PartialMessage] = {}
        """By message id, those whose ``message.completed`` was in no batch: the open ones, and more."""
        self._queue: list[events.Event | PartialMessage | Message] = []
        """The batches to come, in order: an event, the pending text of a message, or a message to commit.

        Entries for pending text stand at the end only, where more text may still join them.
        """
        self._saved_steps = 0
        self._first_delta: float | None = None
        """When it came, by the monotonic clock."""
        self._closed = False

    def go_on_with(self, messages: Iterable[tuple[Message, int]]) -> None:
        """Messages that an earlier attempt was writing, and how many deltas each has in the event log."""
        for message, n in messages:
            deltas = [message.content, *[""] * (n - 1)] if n else []
            partial = PartialMessage(
                replace(message, content=""), deltas, size=_bytes(message.content), saved=n, emitted=n
            )
            self._continued[message.id] = self._uncompleted[message.id] = partial
            self._position = max(self._position, message.position + 1)

    def apply(self, worker_events: Iterable[protocol.WorkerEvent]) -> None:
        """Add what the worker has sent. Raises OutputTooLarge."""
        for event in worker_events:
            match event:
                case protocol.Delta(ref, text):
                    self._delta(ref, text)
                case protocol.Log(text):
                    self.log.write(text.encode("utf-8", "replace"))
                case _ if self.result is not None or self._closed:
                    self.log.write(b"[branchline] ignored what the worker sent after its end\n")
                case protocol.Start():
                    self._begin(event)
                case protocol.End(ref, data):
                    self._end(ref, data)
                case protocol.CompleteMessage():
                    self._complete_message(event)
                case protocol.Step(description):
                    self._step(description)
                case protocol.Usage(data):
                    self._merge_usage(data)
                case protocol.Discard():
                    self.result = WorkerResult(discarded=True)
                case protocol.State(value):
                    self.data = (value,)
                case protocol.Finish(reason):
                    self.finish = reason
                case protocol.Send():
                    self._send(event)
                case protocol.Confirm():
                    self._confirm(event)
                case protocol.Done():
                    self._end_all(MessageStatus.COMPLETE)
                    self.result = WorkerResult()
                case protocol.Failed(message, retryable, retry_after, code):
                    if code == "lost":
                        message = f"Attempt {self.run.attempt} was lost: {message}."
                    self.result = WorkerResult(RunError(code, message, retryable), retry_after=retry_after)

    def _send(self, event: protocol.Send) -> None:
        """Keep what is to be sent. Raises OutputTooLarge."""
        if self.run.message is None:
            self.log.write(b"[branchline] nothing is sent: the run handles no message of a system\n")
            return
        sent = asdict(event)
        self._spend(_OVERHEAD + size_of(sent))
        if len(self.sent) == _MOST_SENT:
            raise OutputTooLarge
        self.sent.append(sent)

    def note_child(self, child: Run) -> None:
        """The run has called another worker."""
        if self.result is None and not self._closed:
            self._enqueue(events.run_child(self.run, child))

    @property
    def usage(self) -> Mapping[str, Json] | None:
        """What the run has used, over all its attempts."""
        return add(self._earlier_usage, self._usage)

    def usage_with(self, step: Mapping[str, Json]) -> Mapping[str, Json] | None:
        """What the run has used by what is saved, and by a ``step`` that is about to be.

        None where that would be too much to keep, which its log tells.
        """
        usage = add(self._earlier_usage, step)
        return usage if self._is_kept(add(usage, self._usage)) else None

    def mark_used(self, usage: Mapping[str, Json]) -> None:
        """A step is saved, and with it :meth:`usage_with` it."""
        self._earlier_usage = usage

    def make_room(self) -> tuple[int, list[Message]]:
        """Before a message of the user: the position that it gets, and what is to be committed before it.

        The answer ends that the worker is writing; what it says next is a message of its own, below.
        """
        for ref, partial in list(self._open.items()):
            if _is_answer(partial.message) and partial.text():
                self._end(ref)
        for id, partial in list(self._continued.items()):
            if _is_answer(partial.message):
                self._enqueue(self._continued.pop(id).as_message(MessageStatus.COMPLETE))
        position, self._position = self._position, self._position + 1
        return position, self._to_commit()

    def add_delivered(self, message: Message) -> None:
        """A message of the user has been committed where there was made room for it."""
        self.committed.append(message.id)
        self._enqueue(events.message_created(self.run, message))
        self._enqueue(events.message_completed(self.run, message))
        self._enqueue(events.run_message_delivered(self.run, message.id))

    def next_batch(self) -> TranscriptBatch:
        """Remove and return the events before the first message that has to be committed.

        ``to_commit`` lists every message that has ended and is not committed.
        """
        for index, entry in enumerate(self._queue):
            if isinstance(entry, Message):
                ready, self._queue = self._queue[:index], self._queue[index:]
                return TranscriptBatch(self._emit(ready), self._to_commit())
        ready, self._queue = self._queue, []
        return TranscriptBatch(self._emit(ready), [])

    def mark_committed(self, messages: Iterable[Message]) -> None:
        """These messages are committed: their ``message.completed`` may follow.

        Messages that have ended since the batch was made are in the next one.
        """
        saved = {message.id for message in messages}
        self.committed += saved
        self._queue = [
            events.message_completed(self.run, entry)
            if isinstance(entry, Message) and entry.id in saved
            else entry
            for entry in self._queue
        ]

    def close(self, status: MessageStatus) -> list[Message]:
        """End every open message with ``status``; returns what must be committed, in order.

        Later output is ignored: it would be neither committed nor announced.
        """
        self._end_all(status)
        self._closed = True
        return self._to_commit()

    def fail(self, error: RunError) -> None:
        """The attempt failed by no word of the worker: it could not start, or its output is lost."""
        self.result = WorkerResult(error)

    @property
    def urgent(self) -> bool:
        """Whether something other than deltas is queued; only deltas may be delayed."""
        return self.result is not None or any(not isinstance(entry, PartialMessage) for entry in self._queue)

    def emitted_messages(self) -> list[PartialMessage]:
        """Messages that were announced as created, and not as completed."""
        return [partial for partial in self._uncompleted.values() if partial.emitted is not None]

    def unsaved_messages(self) -> list[Message]:
        """The text of open messages that has grown since the last call; it counts as saved now."""
        grown = [partial for partial in self._open.values() if len(partial.deltas) > partial.saved]
        for partial in grown:
            partial.saved = len(partial.deltas)
        return [partial.as_message(MessageStatus.PARTIAL) for partial in grown]

    def unsaved_usage(self) -> Mapping[str, Json] | None:
        """What the run has used, if that has grown since the last call; it counts as saved now."""
        grown, self._usage_grown = self._usage_grown, False
        return self.usage if grown else None

    def forget_saved(self) -> None:
        """Saving failed: return every open message that has text, and the usage, at the next calls."""
        self._usage_grown = self._usage is not None
        for partial in self._open.values():
            partial.saved = 0

    def unsaved_steps(self) -> list[tuple[int, str, float]]:
        """Steps added since the last call: number from 1, description, and how many seconds ago."""
        fresh, self._saved_steps = self.steps[self._saved_steps :], len(self.steps)
        present = time.monotonic()
        return [(number, description, present - at) for number, description, at in fresh]

    def since_first_delta(self) -> float | None:
        """Seconds since the first delta; a message that came whole is one. None without any."""
        return None if self._first_delta is None else time.monotonic() - self._first_delta

    def _to_commit(self) -> list[Message]:
        return [entry for entry in self._queue if isinstance(entry, Message)]

    def _delta(self, ref: str | None, text: str) -> None:
        if self.result is not None or self._closed or not text:
            return
        partial = self._open.get(ref) or self._answer(ref)
        size = _bytes(text)
        partial.size += size
        if partial.size > self._max_message:
            raise OutputTooLarge
        self._spend(size)
        self._note_delta()
        if not partial.pending:
            self._queue.append(partial)
        partial.pending.append(text)

    def _begin(self, event: protocol.Start) -> None:
        """Begin a message, or go on with one."""
        self._end(None)
        self._end(event.ref)
        if event.continues in self._continued:
            self._open[event.ref] = self._continued.pop(event.continues)
        else:
            self._start(event.ref, event.role, event.type, event.channel, event.author, event.data)

    def _answer(self, ref: str | None) -> PartialMessage:
        """The answer that opens by itself: the one that an earlier attempt was writing, if there is one."""
        for id, partial in self._continued.items():
            if _is_answer(partial.message):
                self._open[ref] = self._continued.pop(id)
                return partial
        return self._start(ref)

    def _start(
        self,
        ref: str | None,
        role: Role = Role.ASSISTANT,
        type: MessageType = MessageType.TEXT,
        channel: Channel = Channel.ANSWER,
        author: str | None = None,
        data: dict[str, Json] | None = None,
    ) -> PartialMessage:
        message = self._message(role, type, channel, author, "", data)
        self._enqueue(events.message_created(self.run, message))
        partial = self._open[ref] = self._uncompleted[message.id] = PartialMessage(message)
        return partial

    def _end(
        self,
        ref: str | None,
        data: dict[str, Json] | None = None,
        status: MessageStatus = MessageStatus.COMPLETE,
    ) -> None:
        if ref not in self._open:
            return
        if data:
            self._spend(len(orjson.dumps(data)))
        partial = self._open.pop(ref)
        if data:
            kept, left_out = fitting(partial.message.type, data)
            self.log.write(left_out.encode())
            partial.message = replace(partial.message, data={**partial.message.data, **kept})
        self._enqueue(partial.as_message(status))

    def _end_all(self, status: MessageStatus) -> None:
        for partial in self._continued.values():
            self._enqueue(partial.as_message(status))
        self._continued.clear()
        for ref in list(self._open):
            self._end(ref, status=status)

    def _complete_message(self, event: protocol.CompleteMessage) -> None:
        size = _bytes(event.content)
        if size > self._max_message:
            raise OutputTooLarge
        self._spend(size)
        self._end(None)
        message = self._message(
            event.role, event.type, event.channel, event.author, event.content, event.data
        )
        if event.files:
            # Ids alone are not what readers get: nobody has looked them up, for there is no server.
            message = replace(message, files=[file for file in event.files if isinstance(file, dict)] or None)
        self._enqueue(events.message_created(self.run, message))
        self._enqueue(message)
        self._note_delta()

    def _note_delta(self) -> None:
        if self._first_delta is None:
            self._first_delta = time.monotonic()

    def _step(self, description: str) -> None:
        self._spend(_OVERHEAD + _bytes(description))
        number = len(self.steps) + 1
        self.steps.append((number, description, time.monotonic()))
        self._enqueue(events.run_step(self.run, number, description))

    def _spend(self, size: int) -> None:
        self._remaining -= size
        if self._remaining < 0:
            raise OutputTooLarge

    def _merge_usage(self, data: dict[str, Json]) -> None:
        usage = {**(self._usage or {}), **data}
        if self._is_kept(add(self._earlier_usage, usage)):
            self._usage, self._usage_grown = usage, True

    def _is_kept(self, usage: Mapping[str, Json] | None) -> bool:
        if len(orjson.dumps(usage)) <= _MAX_USAGE:
            return True
        self.log.write(b"[branchline] ignored what the worker sent: its usage is larger than 64 KiB\n")
        return False

    def _confirm(self, event: protocol.Confirm) -> None:
        self._end_all(MessageStatus.COMPLETE)
        digest = event.digest or _digest(event)
        answered = {answer["confirmation_id"]: answer.get("digest", digest) for answer in self.run.answers}
        problem = None
        if answered.get(event.id, digest) != digest:
            problem = f"The question {event.id!r} asks something else than was answered."
        elif event.call is not None and event.id in answered:
            # A sub-run asks each question once, so this one would be settled at once, again and again.
            problem = f"The question {event.id!r} of a sub-run is asked again, though `answers` has it."
        if problem is not None:
            self.result = WorkerResult(RunError("worker_error", problem))
            return
        data: dict[str, Json] = {"id": event.id, "options": event.options}
        if event.schema is not None:
            data["schema"] = event.schema
        message = self._message(
            Role.ASSISTANT, MessageType.CONFIRMATION, Channel.ANSWER, None, event.prompt, data
        )
        self._enqueue(events.message_created(self.run, message))
        self._enqueue(message)
        confirmation = {**data, "prompt": event.prompt, "message_id": message.id, "digest": digest}
        if event.call is not None:
            confirmation["run_id"] = event.call
        self.result = WorkerResult(confirmation=confirmation)

    def _enqueue(self, entry: events.Event | Message) -> None:
        """Queue an event or a message to commit; text that is pending now becomes deltas before it."""
        for index in range(len(self._queue) - 1, -1, -1):
            last = self._queue[index]
            if not isinstance(last, PartialMessage):
                break
            self._queue[index] = self._next_delta(last)
        self._queue.append(entry)

    def _emit(self, queue: list[events.Event | PartialMessage | Message]) -> list[events.Event]:
        batch: list[events.Event] = [
            self._next_delta(entry) if isinstance(entry, PartialMessage) else entry  # type: ignore[misc]
            for entry in queue
        ]
        for event in batch:
            if event.type == events.MESSAGE_COMPLETED:
                self._uncompleted.pop(event.message_id, None)
            elif partial := self._uncompleted.get(event.message_id):
                partial.emitted = event.n
        return batch

    def _message(
        self,
        role: Role,
        type: MessageType,
        channel: Channel,
        author: str | None,
        content: str,
        data: dict[str, Json] | None,
    ) -> Message:
        self._spend(_OVERHEAD + (len(orjson.dumps(data)) if data else 0))
        position, self._position = self._position, self._position + 1
        return Message(
            id=new_id(),
            state_id=self.run.output_state_id,
            position=position,
            role=role,
            content=content,
            type=type,
            channel=channel,
            author=author or self.run.worker_id,
            data=data or {},
            run_id=self.run.id,
            attempt=self.run.attempt,
            created_at=utc_now(),
        )

    def _next_delta(self, partial: PartialMessage) -> events.Event:
        """Join its pending text into one delta."""
        text = "".join(partial.pending)
        partial.deltas.append(text)
        partial.pending = []
        return events.message_delta(self.run, partial.message.id, len(partial.deltas), text)


def _is_answer(message: Message) -> bool:
    return (message.role, message.type, message.channel) == _ANSWER


def _digest(asked: protocol.Confirm) -> str:
    """What an answer belongs to."""
    text = orjson.dumps([asked.prompt, asked.options, asked.schema], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


class LogTail:
    """The end of what a worker wrote to stderr; the beginning is dropped."""

    def __init__(self, limit: int) -> None:
        """``limit`` in bytes."""
        self._limit = limit
        self._kept = bytearray()
        self.truncated = False

    def write(self, data: bytes) -> None:
        """Add to the end."""
        self._kept += data
        if len(self._kept) > 2 * self._limit:
            self._cut()

    def text(self) -> str:
        """What is kept; bytes that are no UTF-8, and NUL, show as U+FFFD."""
        if len(self._kept) > self._limit:
            self._cut()
        return self._kept.decode("utf-8", "replace").replace("\0", "\ufffd")

    def tail(self, lines: int = 20, characters: int = 2000) -> str:
        """The last lines, for an error that a user reads."""
        return "\n".join(self.text().splitlines()[-lines:])[-characters:]

    def _cut(self) -> None:
        del self._kept[: len(self._kept) - self._limit]
        self.truncated = True
