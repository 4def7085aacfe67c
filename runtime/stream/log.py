"""The event log of a thread, in Redis: numbered entries without holes.

Every call is one round trip, and each script in ``lua/`` does all of it or
nothing. What an attempt may write is decided there: see ``lua/append.lua``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from runtime import settings
from runtime.errors import LogLost, StaleAttempt
from runtime.events import Cursor, Event
from runtime.model import Json
from runtime.stream.connection import Argument, Link, Script
from runtime.stream.entries import Chunk, decode_entries
from runtime.stream.hints import Hint

APPEND = Script("epoch", "entries", "append")
REOPEN = Script("epoch", "reopen")
TAKE_OVER = Script("take_over")
POSITION = Script("epoch", "position")
READ = Script("entries", "read")
RUN_SPAN = Script("run_span")
READ_RUN = Script("entries", "read_run")
OPEN_MESSAGES = Script("open_messages")
LENGTHS = Script("lengths")
CHANGED = Script("changed")

CHUNK_BYTES = 1 << 20
"""A chunk ends with the entry that reaches so many bytes of payload, unless its reader wants less."""


@dataclass(frozen=True, slots=True)
class Appended:
    """Where the log is after an append."""

    epoch: str
    seq: int


@dataclass(frozen=True, slots=True)
class Span:
    """Where a run begins and ends; None for an entry that the log does not have (any more)."""

    queued: Cursor | None
    """At its first ``run.queued``."""
    completed: Cursor | None
    """At its ``run.completed``: nothing of the run comes after it."""


@dataclass(frozen=True, slots=True)
class OpenMessage:
    """A message that is being written."""

    message_id: str
    run_id: str
    attempt: int
    message: dict[str, Json]
    """The message as ``message.created`` had it; its content is empty."""
    text: str
    """Its text so far."""
    n: int
    """Number of its last delta."""


class EventLog:
    """The logs of all threads. Every call raises StreamUnavailable when Redis is away."""

    def __init__(self, link: Link, limits: settings.Log) -> None:
        self._link = link
        self._limits = limits
        self._names = link.keys

    # ── writing ──

    def begin(
        self,
        thread_id: str,
        run_id: str,
        attempt: int,
        events: Sequence[Event],
        announcement: Callable[[], Sequence[Event]] | None = None,
    ) -> Appended:
        """Start an attempt: writes of earlier ones are refused from now on.

        ``events`` get the run-local numbers from 1; sent again, only what is missing
        is appended. If the log lacks the run's first entries, those that ``announcement``
        returns are appended before, without numbers. Raises StaleAttempt.
        """
        if announcement is None:
            return self._append("begin", thread_id, run_id, attempt, 1, events)
        try:
            return self._append("resume", thread_id, run_id, attempt, 1, events)
        except _Unannounced:
            self._append("announce", thread_id, run_id, attempt, 0, announcement())
            return self._append("resume", thread_id, run_id, attempt, 1, events)

    def append(
        self,
        thread_id: str,
        run_id: str,
        attempt: int,
        first: int,
        events: Sequence[Event],
        hint: Hint | None = None,
    ) -> Appended:
        """Go on with an attempt. ``first`` is the run-local number of ``events[0]``.

        Numbers that the log has are skipped, so that a batch may be sent again.
        ``hint`` is published with them. Raises StaleAttempt; LogLost when the log lacks what
        came before (check in the database that the attempt is current, then ``reopen``).
        """
        return self._append("append", thread_id, run_id, attempt, first, events, hint)

    def announce(
        self,
        thread_id: str,
        run_id: str | None,
        attempt: int,
        events: Sequence[Event],
        hint: Hint | None = None,
    ) -> Appended:
        """Append what the database decided; an event whose key the log has seen is skipped.

        An attempt above the fence raises it. The ids of discarded messages that the log
        knows are added to a ``run.retried``. ``hint`` is published with the events. Raises
        StaleAttempt when a later attempt has begun.
        """
        return self._append("announce", thread_id, run_id, attempt, 0, events, hint)

    def reopen(
        self,
        thread_id: str,
        run_id: str,
        attempt: int,
        last: int,
        open: Sequence[OpenMessage],
        completed: Sequence[str] = (),
    ) -> None:
        """Restore what the log lost: the last run-local number, and the open messages with their text.

        ``completed`` are the ids of the attempt's messages that are complete, for a later
        ``run.retried``. Nothing is appended; readers are reset. Raises StaleAttempt.
        """
        args: list[Argument] = [
            run_id, attempt, last, self._names.wake(thread_id), self._names.partial(thread_id),
            self._limits.ttl, len(completed), *completed,
        ]  # fmt: skip
        for message in open:
            created = {
                "run_id": message.run_id,
                "attempt": message.attempt,
                "message": message.message,
            }
            args += (message.message_id, orjson.dumps(created), message.text, message.n)
        _accepted(self._link.call(REOPEN, self._keys(thread_id, run_id), args))

    def take_over(self, thread_id: str, run_id: str, attempt: int) -> list[OpenMessage]:
        """Begin an attempt that goes on with the text of the one before; the messages that are open.

        They stay open, and writes of earlier attempts are refused from now on. Raises
        StaleAttempt; LogLost where the log does not have all of that text.
        """
        prefix, ttl = self._names.partial(thread_id), self._limits.ttl
        status, *found = self._link.call(
            TAKE_OVER, self._keys(thread_id, run_id), (run_id, attempt, prefix, ttl)
        )
        if status != b"ok":
            raise _REFUSALS[status]
        return [_open_message(*found[at : at + 4]) for at in range(0, len(found), 4)]

    def _append(
        self,
        mode: str,
        thread_id: str,
        run_id: str | None,
        attempt: int,
        first: int,
        events: Sequence[Event],
        hint: Hint | None = None,
    ) -> Appended:
        hinted = (self._names.workspace(hint.workspace_id), hint.message) if hint else ("", "")
        args: list[Argument] = [
            mode, run_id or "", attempt, first, self._names.wake(thread_id), self._names.partial(thread_id),
            self._limits.entries, self._limits.ttl, *hinted,
        ]  # fmt: skip
        for event in events:
            args += (
                event.type,
                event.payload,
                event.key,
                event.message_id,
                event.text,
                event.n,
            )
        return _accepted(self._link.call(APPEND, self._keys(thread_id, run_id), args))

    def _keys(self, thread_id: str, run_id: str | None) -> list[str]:
        names = [
            self._names.head(thread_id),
            self._names.log(thread_id),
            self._names.open(thread_id),
        ]
        return [*names, self._names.run(thread_id, run_id)] if run_id else names

    # ── reading ──

    def read(self, thread_id: str, after: Cursor | None, count: int = 500, size: int = CHUNK_BYTES) -> Chunk:
        """At most ``count`` entries after ``after`` (None: from the oldest on), in order.

        Ends with the entry that reaches ``size`` bytes of payload.
        """
        after = after or self.oldest(thread_id)
        names = (self._names.head(thread_id), self._names.log(thread_id))
        answer = self._link.call(READ, names, (after.epoch, after.seq, count, size))
        epoch, head, lines = answer[0].decode(), answer[1], answer[2]
        if len(answer) > 3:
            return Chunk(epoch, head, [], answer[3].decode())
        return Chunk(epoch, head, decode_entries(epoch, lines))

    def read_run(self, thread_id: str, run_id: str, count: int = 500) -> Chunk | None:
        """Read on from the first entry of a run; None where the log does not have it (any more)."""
        names = (
            self._names.head(thread_id),
            self._names.log(thread_id),
            self._names.run(thread_id, run_id),
        )
        answer = self._link.call(READ_RUN, names, (count, CHUNK_BYTES))
        epoch, head, lines = answer[0].decode(), answer[1], answer[2]
        return Chunk(epoch, head, decode_entries(epoch, lines)) if lines else None

    def cursor(self, thread_id: str) -> Cursor:
        """The position after the newest entry. Begins an epoch where the log has none."""
        epoch, seq, _ = self._position(thread_id)
        return Cursor(epoch, seq)

    def oldest(self, thread_id: str) -> Cursor:
        """Just before the oldest entry that is kept."""
        epoch, _, seq = self._position(thread_id)
        return Cursor(epoch, seq)

    def span(self, thread_id: str, run_id: str) -> Span:
        """Where a run begins and ends in the log."""
        names = (
            self._names.head(thread_id),
            self._names.log(thread_id),
            self._names.run(thread_id, run_id),
        )
        epoch, first, last = self._link.call(RUN_SPAN, names, ())
        ends = [Cursor(epoch.decode(), seq) if seq else None for seq in (first, last)]
        return Span(*ends)

    def open_messages(self, thread_id: str) -> list[OpenMessage]:
        """The messages that are being written, with their text so far.

        A message is left out while Redis lacks a part of its text; its attempt will reopen the log.
        """
        prefixes = (self._names.partial(thread_id), self._names.run(thread_id, ""))
        answer = self._link.call(OPEN_MESSAGES, (self._names.open(thread_id),), prefixes)
        return [_open_message(*answer[at : at + 4]) for at in range(0, len(answer), 4)]

    def lengths(self, thread_id: str, run_id: str, message_ids: Sequence[str]) -> dict[str, int]:
        """How many bytes of text were appended of those of these messages that are open in the log."""
        names, args = (
            (self._names.run(thread_id, run_id),),
            (self._names.partial(thread_id), *message_ids),
        )
        found = zip(message_ids, self._link.call(LENGTHS, names, args), strict=True)
        return {message_id: length for message_id, length in found if length >= 0}

    def changed(self, cursors: Sequence[tuple[str, Cursor]]) -> list[int]:
        """Of pairs of thread id and cursor, the indexes of those that have new entries or need a reset."""
        names = [self._names.head(thread_id) for thread_id, _ in cursors]
        return list(self._link.call(CHANGED, names, [str(cursor) for _, cursor in cursors]))

    def _position(self, thread_id: str) -> tuple[str, int, int]:
        names = (self._names.head(thread_id), self._names.log(thread_id))
        epoch, newest, oldest = self._link.call(POSITION, names, (self._limits.ttl,))
        return epoch.decode(), newest, oldest


class _Unannounced(Exception):
    """The log does not have the first entries of the run, or no longer."""


_REFUSALS = {b"stale": StaleAttempt, b"lost": LogLost, b"unannounced": _Unannounced}


def _accepted(answer: Any) -> Appended:
    if answer[0] == b"ok":
        return Appended(answer[1].decode(), answer[2])
    raise _REFUSALS[answer[0]]


def _open_message(message_id: bytes, created: bytes, text: bytes, n: bytes) -> OpenMessage:
    data = orjson.loads(created)
    return OpenMessage(
        message_id.decode(),
        data["run_id"],
        data["attempt"],
        data["message"],
        text.decode(),
        int(n),
    )
