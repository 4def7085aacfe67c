"""The transcript: what a child said, as messages of its run and events of its thread.

No input or output happens here. :meth:`Transcript.take` collects what the child
says; :meth:`Transcript.due` gives the events that may be appended now, deltas of the
same message joined into one. A message that ended is due only after it was
committed, so ``due`` hands it out first (:attr:`Due.commit`) and its event the next
time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

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
from runtime.settings import RunSettings

_LEAST = 256
"""Bytes that every message and step counts at least: what it costs beside its text."""
_MAX_USAGE = 64 * 1024
"""Bytes of a run's usage, which every list of runs carries along."""


@dataclass(slots=True)
class Writing:
    """A message that is being written."""

    message: Message
    """Without its text."""
    streamed: list[str] = field(default_factory=list)
    """What is joined into deltas, the first of which the event log has."""
    pending: list[str] = field(default_factory=list)
    """What it will be given next."""
    n: int = 0
    """How many deltas that makes."""
    size: int = 0
    saved: int = 0
    """How many deltas the text in the database has."""
    told: int | None = None
    """Number of the last delta that was handed out; None until the message's beginning was."""

    def text(self) -> str:
        """All that was said so far."""
        return "".join(self.streamed) + "".join(self.pending)

    def as_message(self, status: MessageStatus) -> Message:
        """The message with its text."""
        return replace(self.message, content=self.text(), status=status)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the child itself said of its end."""

    error: RunError | None = None
    confirmation: dict[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done next, in this order: append ``events``, then commit ``commit``."""

    events: list[events.Event]
    commit: list[Message]


class Transcript:
    """One attempt's messages, steps, usage and log."""

    def __init__(self, run: Run, first_position: int, limits: RunSettings) -> None:
        """``first_position``: how many messages its output state has already."""
        self.run = run
        self.log = LogTail(limits.max_log)
        self.steps: list[tuple[int, str, float]] = []
        """Number, description, and when it was told by the monotonic clock."""
        self.usage: dict[str, Json] | None = dict(run.usage) if run.usage else None
        self.outcome: Outcome | None = None
        self.complete: list[str] = []
        """Ids of the messages that are committed."""
        self._position = first_position
        self._max_message = limits.max_message
        self._left = limits.max_output
        """Bytes that may still be said."""
        self._open: dict[str | None, Writing] = {}
        self._unfinished: dict[str, Writing] = {}
        """By message id, those whose end was not handed out: more than are open."""
        self._queue: list[events.Event | Writing | Message] = []
        """What is due, in order; deltas that more may be joined to are at its end."""
        self._unsaved_steps = 0
        self._closed = False

    def take(self, said: Iterable[protocol.WorkerEvent]) -> None:
        """Note what the child said. Raises OutputTooLarge."""
        for one in said:
            match one:
                case protocol.Delta(ref, text):
                    self._delta(ref, text)
                case protocol.Log(text):
                    self.log.write(text.encode("utf-8", "replace"))
                case _ if self.outcome is not None or self._closed:
                    self.log.write(b"[branchline] ignored what the worker said after its end\n")
                case protocol.Start():
                    self._end(None)
                    self._end(one.ref)
                    self._start(one.ref, one.role, one.type, one.channel, one.author, one.data)
                case protocol.End(ref, data):
                    self._end(ref, data)
                case protocol.CompleteMessage():
                    self._whole(one)
                case protocol.Step(description):
                    self._step(description)
                case protocol.Usage(data):
                    self._use(data)
                case protocol.Confirm():
                    self._confirm(one)
                case protocol.Done():
                    self._end_all(MessageStatus.COMPLETE)
                    self.outcome = Outcome()
                case protocol.Failed(message, retryable):
                    self.outcome = Outcome(RunError("worker_error", message, retryable))

    def due(self) -> Due:
        """Take out what can be appended, and show what must be committed before more can be."""
        for index, one in enumerate(self._queue):
            if isinstance(one, Message):
                ready, self._queue = self._queue[:index], self._queue[index:]
                return Due(self._hand_out(ready), [m for m in self._queue if isinstance(m, Message)])
        ready, self._queue = self._queue, []
        return Due(self._hand_out(ready), [])

    def committed(self, messages: Iterable[Message]) -> None:
        """What :meth:`due` or :meth:`close` showed is committed: its events may follow.

        Messages that have ended since then are not; they are due next time.
        """
        saved = {message.id for message in messages}
        self.complete += saved
        self._queue = [
            events.message_completed(self.run, one) if isinstance(one, Message) and one.id in saved else one
            for one in self._queue
        ]

    def close(self, status: MessageStatus) -> list[Message]:
        """End every open message; returns what must be committed, in order.

        Nothing more is taken: it would be neither committed nor announced.
        """
        self._end_all(status)
        self._closed = True
        return [one for one in self._queue if isinstance(one, Message)]

    def fail(self, error: RunError) -> None:
        """It ended before the child could say anything."""
        self.outcome = Outcome(error)

    @property
    def urgent(self) -> bool:
        """Whether more than deltas wait, which nothing may hold up."""
        return self.outcome is not None or any(not isinstance(one, Writing) for one in self._queue)

    def told(self) -> list[Writing]:
        """Messages that the event log was told the beginning of, but not the end."""
        return [writing for writing in self._unfinished.values() if writing.told is not None]

    def grown(self) -> list[Message]:
        """Open messages whose text the database does not have yet; they count as saved now."""
        fresh = [writing for writing in self._open.values() if writing.n > writing.saved]
        for writing in fresh:
            writing.saved = writing.n
        return [writing.as_message(MessageStatus.PARTIAL) for writing in fresh]

    def forget_saved(self) -> None:
        """What :meth:`grown` handed out last did not reach the database: hand it out again."""
        for writing in self._open.values():
            writing.saved = 0

    def unsaved_steps(self) -> list[tuple[int, str, float]]:
        """Steps that were not handed out before: number from 1, description, and how many seconds ago."""
        fresh, self._unsaved_steps = self.steps[self._unsaved_steps :], len(self.steps)
        present = time.monotonic()
        return [(number, description, present - at) for number, description, at in fresh]

    def _delta(self, ref: str | None, text: str) -> None:
        if self.outcome is not None or self._closed or not text:
            return
        writing = self._open.get(ref) or self._start(ref)
        size = _bytes(text)
        writing.size += size
        if writing.size > self._max_message:
            raise OutputTooLarge
        self._spend(size)
        if not writing.pending:
            self._queue.append(writing)
        writing.pending.append(text)

    def _start(
        self,
        ref: str | None,
        role: Role = Role.ASSISTANT,
        type: MessageType = MessageType.TEXT,
        channel: Channel = Channel.ANSWER,
        author: str | None = None,
        data: dict[str, Json] | None = None,
    ) -> Writing:
        message = self._message(role, type, channel, author, "", data)
        self._add(events.message_created(self.run, message))
        writing = self._open[ref] = self._unfinished[message.id] = Writing(message)
        return writing

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
        writing = self._open.pop(ref)
        if data:
            writing.message = replace(writing.message, data={**writing.message.data, **data})
        self._add(writing.as_message(status))

    def _end_all(self, status: MessageStatus) -> None:
        for ref in list(self._open):
            self._end(ref, status=status)

    def _whole(self, said: protocol.CompleteMessage) -> None:
        size = _bytes(said.content)
        if size > self._max_message:
            raise OutputTooLarge
        self._spend(size)
        self._end(None)
        message = self._message(said.role, said.type, said.channel, said.author, said.content, said.data)
        self._add(events.message_created(self.run, message))
        self._add(message)

    def _step(self, description: str) -> None:
        self._spend(_LEAST + _bytes(description))
        number = len(self.steps) + 1
        self.steps.append((number, description, time.monotonic()))
        self._add(events.run_step(self.run, number, description))

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise OutputTooLarge

    def _use(self, data: dict[str, Json]) -> None:
        usage = {**(self.usage or {}), **data}
        if len(orjson.dumps(usage)) <= _MAX_USAGE:
            self.usage = usage
        else:
            self.log.write(b"[branchline] ignored what the worker said: its usage is larger than 64 KiB\n")

    def _confirm(self, said: protocol.Confirm) -> None:
        self._end_all(MessageStatus.COMPLETE)
        data = {"id": said.id, "options": said.options}
        message = self._message(
            Role.ASSISTANT, MessageType.CONFIRMATION, Channel.ANSWER, None, said.prompt, data
        )
        self._add(events.message_created(self.run, message))
        self._add(message)
        confirmation = {**data, "prompt": said.prompt, "message_id": message.id}
        self.outcome = Outcome(confirmation=confirmation)

    def _add(self, one: events.Event | Message) -> None:
        """Queue what is no delta; deltas before it stay before it."""
        for index in range(len(self._queue) - 1, -1, -1):
            last = self._queue[index]
            if not isinstance(last, Writing):
                break
            self._queue[index] = self._join(last)
        self._queue.append(one)

    def _hand_out(self, queue: list[events.Event | Writing | Message]) -> list[events.Event]:
        due: list[events.Event] = [self._join(one) if isinstance(one, Writing) else one for one in queue]  # type: ignore[misc]
        for event in due:
            if event.type == events.MESSAGE_COMPLETED:
                self._unfinished.pop(event.message_id, None)
            elif writing := self._unfinished.get(event.message_id):
                writing.told = event.n
        return due

    def _message(
        self,
        role: Role,
        type: MessageType,
        channel: Channel,
        author: str | None,
        content: str,
        data: dict[str, Json] | None,
    ) -> Message:
        self._spend(_LEAST + (len(orjson.dumps(data)) if data else 0))
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

    def _join(self, writing: Writing) -> events.Event:
        text = "".join(writing.pending)
        writing.n += 1
        writing.streamed.append(text)
        writing.pending = []
        return events.message_delta(self.run, writing.message.id, writing.n, text)


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
