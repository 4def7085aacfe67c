"""What one attempt of a run has said: its messages, its usage, what it saves, and how it ended.

As :mod:`runtime.pool.transcript` keeps it, without what is for readers of a stream.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from ..messages import Json, Message
from ..protocol import (
    MAX_LINE,
    Call,
    CompleteMessage,
    Confirm,
    Delta,
    Discard,
    Done,
    End,
    Event,
    Failed,
    Finish,
    Follow,
    ProtocolError,
    Reader,
    ReadInbox,
    Save,
    Send,
    Start,
    State,
    Step,
    Usage,
    asked_for,
    decode_line,
    fitting,
    size_of,
)
from ..protocol.values import Channel, MessageType, Role
from .calls import Refused, SubRuns

Fields = dict[str, Json]

_MAX_MESSAGE = 8 << 20
_MAX_OUTPUT = 64 << 20
_MAX_SAVED = 16 << 20
_MAX_USAGE = 64 << 10
_OVERHEAD = 256
"""Bytes that each message, step and saved value counts in addition to its text."""
_AFTER_END = "[branchline] ignored what the worker sent after its end\n"


class TooLarge(Exception):
    """The output exceeds a limit, so that the run fails."""


class WrittenMessage(Message):
    """A message that the worker has written."""

    __slots__ = ("attempt", "status")

    def __init__(self, fields: Mapping[str, Json]) -> None:
        super().__init__(fields)
        self.status: str = fields.get("status", "partial")
        """complete, or partial: the worker did not end it."""
        self.attempt: int = fields.get("attempt", 1)
        """Which attempt has begun it."""

    def fields(self) -> Fields:
        """As the protocol has it."""
        names = (*Message.__slots__, *self.__slots__)
        return {name: getattr(self, name) for name in names}

    def copy(self) -> WrittenMessage:
        """One that may be changed."""
        return WrittenMessage(json.loads(json.dumps(self.fields())))


@dataclass(frozen=True)
class Error:
    """Why a run, or an attempt of it, has failed."""

    code: str
    message: str
    retryable: bool = False

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Question:
    """What the run waits for."""

    id: str
    prompt: str
    options: list[str]
    schema: dict[str, Json] | None
    digest: str
    call: str | None = None
    """The sub-run that has asked it, if one has."""


@dataclass(frozen=True)
class SavedValue:
    """The result of a durable step."""

    value: str
    """JSON in ASCII."""
    digest: str | None


@dataclass
class Transcript:
    """One attempt's."""

    attempt: int
    author: str
    answered: Mapping[str, str]
    """The digests of answered questions, by id."""
    messages: list[WrittenMessage]
    """Those of earlier attempts that count, and then its own."""
    saved: dict[str, SavedValue]
    """By all attempts."""
    earlier_usage: Fields
    sub_runs: SubRuns = field(default_factory=lambda: SubRuns(_no_worker, {}, 0))
    inbox: Sequence[Fields | None] = ()
    """What each look into the inbox finds, in all attempts."""
    looked_before: int = 0
    """How often earlier attempts have looked."""
    looks: int = 0
    """How often this one has."""
    events: list[Fields] = field(default_factory=list)
    """What it said, as it said it."""
    log: str = ""
    state: tuple[Json, ...] = ()
    """What it keeps for the next run; empty where it has not said so."""
    ended: str | None = None
    """done, error, confirm or discard, once it has said so."""
    error: Error | None = None
    question: Question | None = None

    def __post_init__(self) -> None:
        self._reader = Reader()
        self._usage: Fields = {}
        self._open: dict[str | None, WrittenMessage] = {}
        self._left_open = {message.id: message for message in self.messages if message.status == "partial"}
        """What an earlier attempt was writing, and this one has not gone on with yet."""
        self._sizes: dict[str | None, int] = {}
        self._remaining = _MAX_OUTPUT
        self.told: list[Fields] = []
        """What the worker is to be told of its sub-runs."""

    @property
    def usage(self) -> Fields:
        """What all attempts have used."""
        return _added(self.earlier_usage, self._usage)

    def receive(self, line: bytes) -> Fields | None:
        """Add a line; the answer, where it asks for one. Raises TooLarge."""
        fields: Fields = json.loads(line)
        self.events.append(fields)
        if len(line) > MAX_LINE:
            raise TooLarge(f"The worker wrote a line of more than {MAX_LINE} bytes.")
        try:
            events = self._reader.read(decode_line(line) or {})
        except ProtocolError as error:
            self.log += f"[branchline] ignored an event of the worker: {error}\n"
            asked = asked_for(fields)
            return _refused(*asked, str(error)) if asked else None
        answer = None
        for event in events:
            answer = self._add(event)
        return answer

    def close(self, status: str) -> None:
        """End what is open with ``status``."""
        for event in self._reader.end():
            self._add(event)
        self._end_all(status)

    def _add(self, event: Event) -> Fields | None:
        """Add an event; the answer, where it asks for one."""
        match event:
            case Save():
                return self._save(event)
            case ReadInbox(earlier):
                found = None if self.ended is not None else self._look(only_earlier=earlier)
                message = found and found.fields()
                return {"type": "message", "id": message and message["id"], "message": message}
            case Call():
                self.told += self.sub_runs.call(event) if self.ended is None else ()
            case Follow():
                pass  # its result has come already, with all of its text
            case Delta(ref, text):
                self._delta(ref, text)
            case _ if self.ended is not None:
                self.log += _AFTER_END
            case Start():
                self._start(event)
            case End(ref, data):
                self._end(ref, data)
            case CompleteMessage():
                self._complete_message(event)
            case Step(description):
                self._spend(_OVERHEAD + len(description.encode()))
            case Usage(data):
                self._merge_usage(data)
            case State(value):
                self.state = (value,)
            case Confirm():
                self._confirm(event)
            case Finish(reason):
                self.finish = reason
            case Send(_, _, content, data):
                self._spend(_OVERHEAD + len(content.encode()) + size_of(data))
            case Discard():
                self.ended = "discard"
            case Done():
                self._end_all("complete")
                self.ended = "done"
            case Failed(message, retryable, _, code):
                self.ended = "error"
                self.error = Error(code, message, retryable)
        return None

    def _delta(self, ref: str | None, text: str) -> None:
        if self.ended is not None:
            return
        message = self._open.get(ref) or self._answer(ref)
        size = len(text.encode())
        written = self._sizes.get(message.id, 0) or len(message.content.encode())
        self._sizes[message.id] = written + size
        self._check_message(written + size)
        self._spend(size)
        message.content += text

    def _answer(self, ref: str | None) -> WrittenMessage:
        """The answer that opens by itself, or that an earlier attempt was writing."""
        for id, message in self._left_open.items():
            if _is_answer(message):
                self._open[ref] = self._left_open.pop(id)
                return message
        self._open[ref] = self._new()
        return self._open[ref]

    def _start(self, event: Start) -> None:
        self._end(None)
        self._end(event.ref)
        left = self._left_open.pop(event.continues, None)
        self._open[event.ref] = left or self._new(
            event.role, event.type, event.channel, event.author, event.data
        )

    def _complete_message(self, event: CompleteMessage) -> None:
        size = len(event.content.encode())
        self._check_message(size)
        self._spend(size)
        self._end(None)
        message = self._new(event.role, event.type, event.channel, event.author, event.data)
        message.content, message.status = event.content, "complete"

    def _merge_usage(self, amounts: Fields) -> None:
        usage = {**self._usage, **amounts}
        if self._is_kept(_added(self.earlier_usage, usage)):
            self._usage = usage

    def _is_kept(self, usage: Fields) -> bool:
        if size_of(usage) <= _MAX_USAGE:
            return True
        self.log += "[branchline] ignored what the worker sent: its usage is larger than 64 KiB\n"
        return False

    def _confirm(self, event: Confirm) -> None:
        self._end_all("complete")
        digest = event.digest or _digest(event)
        if self.answered.get(event.id, digest) != digest:
            problem = f"The question {event.id!r} asks something else than was answered."
            self.ended, self.error = "error", Error("worker_error", problem)
            return
        data: Fields = {"id": event.id, "options": event.options}
        if event.schema is not None:
            data["schema"] = event.schema
        message = self._new(type=MessageType.CONFIRMATION, data=data)
        message.content, message.status = event.prompt, "complete"
        self.ended = "confirm"
        self.question = Question(event.id, event.prompt, event.options, event.schema, digest, event.call)

    def _save(self, event: Save) -> Fields:
        new = SavedValue(event.value, event.digest)
        counts = self.saved.get(event.key)
        if counts is None:
            if _size_of_saved(self.saved | {event.key: new}) > _MAX_SAVED:
                return _refused("save", event.key, f"a run may save {_MAX_SAVED >> 20} MiB")
            self.saved[event.key] = counts = new
            usage = _added(self.earlier_usage, event.usage or {})
            if self._is_kept(_added(usage, self._usage)):
                self.earlier_usage = usage
        if counts.digest != new.digest:
            return _refused("save", event.key, "this key was saved before for something else")
        answer = {"type": "saved", "key": event.key}
        return answer if counts.value == new.value else {**answer, "value": json.loads(counts.value)}

    def _look(self, *, only_earlier: bool) -> WrittenMessage | None:
        """The message that this look into the inbox finds. Where it does not stand yet, it does now."""
        if only_earlier and self.looks >= self.looked_before:
            return None
        self.looks += 1
        fields = self.inbox[self.looks - 1] if self.looks <= len(self.inbox) else None
        if fields is None:
            return None
        for message in self.messages:
            if message.id == fields["id"]:
                return message
        self._end_answers()
        found = WrittenMessage({**fields, "attempt": self.attempt, "status": "complete"})
        self.messages.append(found)
        return found

    def _end_answers(self) -> None:
        for ref, message in list(self._open.items()):
            if _is_answer(message) and message.content:
                self._end(ref)
        for id, message in list(self._left_open.items()):
            if _is_answer(message):
                self._left_open.pop(id).status = "complete"

    def _new(
        self,
        role: Role = Role.ASSISTANT,
        type: MessageType = MessageType.TEXT,
        channel: Channel = Channel.ANSWER,
        author: str | None = None,
        data: Fields | None = None,
    ) -> WrittenMessage:
        self._spend(_OVERHEAD + (size_of(data) if data else 0))
        message = WrittenMessage(
            {
                "id": f"{self.attempt}-{len(self.messages) + 1}",
                "role": str(role),
                "type": str(type),
                "channel": str(channel),
                "author": author or self.author,
                "data": data,
                "attempt": self.attempt,
            }
        )
        self.messages.append(message)
        return message

    def _end(self, ref: str | None, data: Fields | None = None, status: str = "complete") -> None:
        message = self._open.get(ref)
        if message is None:
            return
        if data:
            self._spend(size_of(data))
            kept, left_out = fitting(MessageType(message.type), data)
            self.log += left_out
            message.data = {**message.data, **kept}
        message.status = status
        del self._open[ref]

    def _end_all(self, status: str) -> None:
        for message in self._left_open.values():
            message.status = status
        self._left_open.clear()
        for ref in list(self._open):
            self._end(ref, status=status)

    def _check_message(self, size: int) -> None:
        if size > _MAX_MESSAGE:
            raise TooLarge(f"A message of the worker is larger than {_MAX_MESSAGE} bytes.")

    def _spend(self, size: int) -> None:
        self._remaining -= size
        if self._remaining < 0:
            raise TooLarge(f"The whole output of the worker is larger than {_MAX_OUTPUT} bytes.")


def _no_worker(asked: Call) -> NoReturn:
    raise Refused(f"There is no worker named {asked.worker_id!r} here.")


def _is_answer(message: Message) -> bool:
    return (message.role, message.type, message.channel) == ("assistant", "text", "answer")


def _refused(type: str, key: str, reason: str) -> Fields:
    return {"type": "refused", "of": type, "key": key, "message": reason}


def _size_of_saved(saved: Mapping[str, SavedValue]) -> int:
    return sum(_OVERHEAD + len(key.encode()) + len(one.value) for key, one in saved.items())


def _digest(event: Confirm) -> str:
    asked = [event.prompt, event.options, event.schema]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _added(first: Fields, second: Fields) -> Fields:
    """Both together: numbers add up, also within objects; of anything else the second counts."""
    return {**first, **{name: _sum(first.get(name), value) for name, value in second.items()}}


def _sum(first: Json, second: Json) -> Json:
    if isinstance(first, dict) and isinstance(second, dict):
        return _added(first, second)
    if _is_number(first) and _is_number(second):
        return first + second
    return second


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
