"""A run's stream, rebuilt from the database where the event log no longer has it.

The events are those that the log had, with one delta per message. Their ids are
``db-<run>-<attempt>:<n>``: a place in this rebuilding, not in the log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

from runtime import events
from runtime.events import Event, encode_sse, one_line, with_seq
from runtime.model import Json, Message, MessageStatus, Run, RunStatus, encode_time
from runtime.queue.announcer import creation_events
from runtime.store import Connection, messages, runs
from runtime.stream import OpenMessage

_Dated = tuple[datetime | None, Event]
"""An event, and when it happened."""

_PLACE = re.compile(r"db-([0-9a-f-]{36})-([0-9]{1,9}):([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Place:
    """The id of a rebuilt event."""

    run_id: str
    attempt: int
    n: int

    @classmethod
    def decode(cls, text: str) -> Place | None:
        """The place in an event id; None where it is none."""
        match = _PLACE.fullmatch(text)
        return cls(match[1], int(match[2]), int(match[3])) if match else None


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the database knows of a run."""

    run: Run
    messages: Sequence[Message]
    steps: Sequence[Mapping[str, Json]]


def recall(c: Connection, workspace_id: str, run_id: str) -> Remembered:
    """Read a run with all that its stream tells of. Raises NotFound."""
    run = runs.get(c, workspace_id, run_id)
    return Remembered(run, messages.of_state(c, run.output_state_id), runs.steps(c, run_id))


@dataclass(slots=True)
class Rebuilt:
    """What was sent from the database, so that what the log sends next follows on it."""

    sent: set[tuple[str, int]] = field(default_factory=set)
    """Type and attempt of the run's own events."""
    complete: set[str] = field(default_factory=set)
    deltas: dict[str, int] = field(default_factory=dict)
    """Number of the last delta of each open message."""

    def events(self, known: Remembered, partials: Sequence[OpenMessage]) -> list[bytes]:
        """The run so far, as it is sent. ``partials`` have the text of what is being written."""
        open_now = {one.message_id: one for one in partials if one.attempt == known.run.attempt}
        dated = [*_beginning(known), *self._said(known, open_now), *_ending(known.run)]
        told = [(event.type, {**orjson.loads(event.payload), "at": encode_time(at)}) for at, event in dated]
        self.sent = {(type, data["attempt"]) for type, data in told}
        return [_encode(known.run, n, type, data) for n, (type, data) in enumerate(told, 1)]

    def following(self, sse: bytes) -> bytes | None:
        """What of these entries of the log is new; None where text is missing: begin again."""
        new = []
        for one in sse.split(b"\n\n")[:-1]:
            fresh = self._is_new(orjson.loads(one.rpartition(b"\ndata: ")[2]))
            if fresh is None:
                return None
            if fresh:
                new.append(one + b"\n\n")
        return b"".join(new)

    def _said(self, known: Remembered, open_now: Mapping[str, OpenMessage]) -> Iterator[_Dated]:
        run = known.run
        for message in known.messages:
            if run.status.terminal or message.status is MessageStatus.COMPLETE:
                self.complete.add(message.id)
                yield from _written(run, message, 1 if message.content else 0)
                yield message.created_at, events.message_completed(run, message)
        for one in () if run.status.terminal else open_now.values():
            if one.message_id not in self.complete:
                self.deltas[one.message_id] = one.n
                yield from _written(run, _partial(one), one.n)

    def _is_new(self, data: Mapping[str, Any]) -> bool | None:
        kind, message_id = data["type"], data.get("message_id", "")
        if kind == events.MESSAGE_DELTA:
            known = self.deltas.get(message_id)
            if message_id in self.complete or (known is not None and data["n"] <= known):
                return False
            if data["n"] != (known or 0) + 1:
                return None
            self.deltas[message_id] = data["n"]
        elif kind == events.MESSAGE_CREATED:
            return data["message"]["id"] not in self.complete and data["message"]["id"] not in self.deltas
        elif kind in (events.RUN_QUEUED, events.RUN_STARTED, events.RUN_WAITING):
            return (kind, data["attempt"]) not in self.sent
        return True


def _beginning(known: Remembered) -> Iterator[_Dated]:
    run = known.run
    yield run.created_at, creation_events(run)[-1]
    if run.started_at is None:
        return
    started = replace(run, status=RunStatus.RUNNING, error=None, usage=None, finished_at=None)
    yield run.started_at, events.run_started(started)
    for step in known.steps:
        if step["attempt"] == run.attempt:
            yield step["at"], events.run_step(run, step["number"], step["description"])


def _written(run: Run, message: Message, n: int) -> Iterator[_Dated]:
    """A message that begins, and its text as one delta: its ``n``-th, so that the next follows it."""
    yield message.created_at, events.message_created(run, message)
    if n:
        yield message.created_at, events.message_delta(run, message.id, n, message.content)


def _partial(one: OpenMessage) -> Message:
    created_at = datetime.fromisoformat(one.message["created_at"])
    return Message(**{**one.message, "content": one.text, "created_at": created_at}, attempt=one.attempt)


def _ending(run: Run) -> Iterator[_Dated]:
    if run.status is RunStatus.WAITING:
        yield run.started_at, events.run_waiting(run)
    elif run.status.terminal:
        yield run.finished_at, events.run_completed(run)


def _encode(run: Run, n: int, type: str, data: Mapping[str, Json]) -> bytes:
    return encode_sse(f"db-{run.id}-{run.attempt}:{n}", type, with_seq(one_line(data), n))
