"""A run's stream, replayed from the database where the event log no longer has it.

The events are those that the log had, with one delta per message. Their ids are
``db-<run>-<attempt>:<n>``: positions in the replay, not in the log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

from runtime import events
from runtime.events import Event, one_line
from runtime.model import Json, Message, MessageStatus, Run, RunStatus, encode_time
from runtime.queue.announcer import creation_events
from runtime.store import Connection, messages, runs
from runtime.stream import Entry, OpenMessage, Record

_Dated = tuple[datetime | None, Event]
"""An event, and when it happened."""

_CURSOR = re.compile(r"db-([0-9a-f-]{36})-([0-9]{1,9}):([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class ReplayCursor:
    """The id of a replayed event."""

    run_id: str
    attempt: int
    n: int

    @classmethod
    def decode(cls, text: str) -> ReplayCursor | None:
        """The cursor in an event id; None where it is not one of a replay."""
        match = _CURSOR.fullmatch(text)
        return cls(match[1], int(match[2]), int(match[3])) if match else None


@dataclass(frozen=True, slots=True)
class StoredRun:
    """What the database knows of a run."""

    run: Run
    messages: Sequence[Message]
    steps: Sequence[Mapping[str, Json]]


def load_run(c: Connection, workspace_id: str, run_id: str) -> StoredRun:
    """Read a run with all that its stream consists of. Raises NotFound."""
    run = runs.get(c, workspace_id, run_id)
    return StoredRun(run, messages.of_state(c, run.output_state_id), runs.steps(c, run_id))


@dataclass(slots=True)
class Replay:
    """What was sent from the database, so that what the log sends next continues it."""

    sent: set[tuple[str, int]] = field(default_factory=set)
    """Type and attempt of the run's own events."""
    complete: set[str] = field(default_factory=set)
    """Ids of messages that were sent with all of their text."""
    deltas: dict[str, int] = field(default_factory=dict)
    """Number of the last delta of each open message."""

    def entries(self, stored: StoredRun, partials: Sequence[OpenMessage]) -> list[Entry]:
        """The events of the run so far. ``partials`` have the text of what is being written."""
        run = stored.run
        open_now = {partial.message_id: partial for partial in partials if partial.attempt == run.attempt}
        dated = [*_start_events(stored), *self._messages(stored, open_now), *_end_events(run)]
        replayed = [
            (event.type, {**orjson.loads(event.payload), "at": encode_time(at)}) for at, event in dated
        ]
        self.sent = {(type, data["attempt"]) for type, data in replayed}
        epoch = f"db-{run.id}-{run.attempt}"
        return [Entry(epoch, n, type, run.id, one_line(data)) for n, (type, data) in enumerate(replayed, 1)]

    def new_entries(self, entries: Sequence[Record]) -> list[Record] | None:
        """Those entries of the log that were not replayed; None where text between is missing."""
        new = []
        for entry in entries:
            fresh = self._is_new(entry.fields)
            if fresh is None:
                return None
            if fresh:
                new.append(entry)
        return new

    def _messages(self, stored: StoredRun, open_now: Mapping[str, OpenMessage]) -> Iterator[_Dated]:
        run = stored.run
        for message in stored.messages:
            if run.status.terminal or message.status is MessageStatus.COMPLETE:
                self.complete.add(message.id)
                yield from _message_events(run, message, 1 if message.content else 0)
                yield message.created_at, events.message_completed(run, message)
        for partial in () if run.status.terminal else open_now.values():
            if partial.message_id not in self.complete:
                self.deltas[partial.message_id] = partial.n
                yield from _message_events(run, _as_message(partial), partial.n)

    def _is_new(self, data: Mapping[str, Any]) -> bool | None:
        kind, message_id = data["type"], data.get("message_id", "")
        if kind == events.MESSAGE_DELTA:
            last = self.deltas.get(message_id)
            if message_id in self.complete or (last is not None and data["n"] <= last):
                return False
            if data["n"] != (last or 0) + 1:
                return None
            self.deltas[message_id] = data["n"]
        elif kind == events.MESSAGE_CREATED:
            return data["message"]["id"] not in self.complete and data["message"]["id"] not in self.deltas
        elif kind in (events.RUN_QUEUED, events.RUN_STARTED, events.RUN_WAITING):
            return (kind, data["attempt"]) not in self.sent
        return True


def _start_events(stored: StoredRun) -> Iterator[_Dated]:
    run = stored.run
    yield run.created_at, creation_events(run)[-1]
    if run.started_at is None:
        return
    started = replace(run, status=RunStatus.RUNNING, error=None, usage=None, finished_at=None)
    yield run.started_at, events.run_started(started)
    for step in stored.steps:
        if step["attempt"] == run.attempt:
            yield step["at"], events.run_step(run, step["number"], step["description"])


def _message_events(run: Run, message: Message, n: int) -> Iterator[_Dated]:
    """A message that begins, and its text as one delta: its ``n``-th, so that the next follows it."""
    yield message.created_at, events.message_created(run, message)
    if n:
        yield message.created_at, events.message_delta(run, message.id, n, message.content)


def _as_message(partial: OpenMessage) -> Message:
    created_at = datetime.fromisoformat(partial.message["created_at"])
    known = {**partial.message, "content": partial.text, "created_at": created_at}
    return Message(**known, attempt=partial.attempt)


def _end_events(run: Run) -> Iterator[_Dated]:
    if run.status is RunStatus.WAITING:
        yield run.started_at, events.run_waiting(run)
    elif run.status.terminal:
        yield run.finished_at, events.run_completed(run)
