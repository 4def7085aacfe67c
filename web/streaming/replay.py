"""A run's stream, replayed from the database where the event log no longer has it.

The events are those of its history (:mod:`web.streaming.history`). Their ids are
``db-<run>-<attempt>:<n>``: positions in the replay, not in the log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from runtime import events
from runtime.events import one_line
from runtime.model import encode_time
from runtime.stream import Entry, OpenMessage, Record
from web.streaming.history import StoredRun, history

_ONCE = (events.RUN_QUEUED, events.RUN_STARTED, events.RUN_WAITING, events.RUN_STEP)
"""What an attempt has once, or is stored of it all at once."""
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


@dataclass(slots=True)
class Replay:
    """What was sent from the database, so that what the log sends next continues it."""

    sent: set[tuple[str, int]] = field(default_factory=set)
    """Type and attempt of the run's own events."""
    complete: set[str] = field(default_factory=set)
    """Ids of messages that were sent with all of their text."""
    deltas: dict[str, int] = field(default_factory=dict)
    """Number of the last delta of each open message."""
    children: set[str] = field(default_factory=set)
    """Ids of the sub-runs that were told of."""

    def entries(self, stored: StoredRun, partials: Sequence[OpenMessage]) -> list[Entry]:
        """The events of the run so far. ``partials`` have the text of what is being written."""
        run = stored.run
        self.complete = {message.id for message in stored.written}
        open_now = [
            partial
            for partial in partials
            if partial.attempt == run.attempt
            and not run.status.terminal
            and partial.message_id not in self.complete
        ]
        self.deltas = {partial.message_id: partial.n for partial in open_now}
        self.children = {child.id for child in stored.children}
        replayed = [
            (event.type, {**orjson.loads(event.payload), "at": encode_time(at)})
            for at, event in history(stored, open_now)
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
        elif kind == events.RUN_CHILD:
            return data["child_run_id"] not in self.children
        elif kind == events.RUN_MESSAGE_DELIVERED:
            return message_id not in self.complete
        elif kind in _ONCE:
            return (kind, data["attempt"]) not in self.sent
        return True
