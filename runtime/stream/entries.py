"""What a stream carries: records, and batches of them that all their readers share.

A record knows its type and its data and nothing of the protocol it is sent in. Who
sends it hands an encoder to :meth:`Batch.encoded`; the bytes are kept in the record and
in the batch, so that a thousand readers of the same entries share one encoding.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from runtime.events import RESET, RUN_COMPLETED, THREAD_DELETED, Cursor, with_seq
from runtime.model import Json, encode_time, utc_now

BATCH_BYTES = 1 << 16
"""A batch ends with the entry that reaches this size. A reader who stops reading holds it twice."""

_ENVELOPE = 100
"""Bytes that id, type and framing add to a payload, about; counted for the bounds on memory only."""


class Record:
    """One thing that is sent to the readers of a stream."""

    __slots__ = ("_encoded", "_encoder")

    type: str
    """Names the kind of event; one of runtime.events.TYPES, or a signal's own."""

    def __init__(self) -> None:
        self._encoder: Encoder | None = None
        self._encoded = b""

    @property
    def id(self) -> str | None:
        """What a reader shows to go on after this record; None where it is no position in a log."""
        return None

    @property
    def data(self) -> bytes:
        """What clients read: one line of JSON."""
        raise NotImplementedError

    @property
    def fields(self) -> Mapping[str, Any]:
        """The data, parsed; an entry's without ``seq``."""
        raise NotImplementedError

    def encoded(self, encode: Encoder) -> bytes:
        """The record in the protocol of ``encode``, whose latest result is kept."""
        if self._encoder is not encode:
            self._encoded = encode(self)
            self._encoder = encode
        return self._encoded


Encoder = Callable[[Record], bytes]
"""Puts a record into the bytes of a protocol. Kept results are found again by its identity."""


class Entry(Record):
    """One numbered event of a log, as stored, or of a run that was loaded from the database."""

    __slots__ = ("epoch", "payload", "run_id", "seq", "type")

    def __init__(self, epoch: str, seq: int, type: str, run_id: str, payload: bytes) -> None:
        super().__init__()
        self.epoch = epoch
        """What ``seq`` counts in: the epoch of the log, or one load from the database."""
        self.seq = seq
        self.type = type
        self.run_id = run_id
        """Empty where the event is of no run."""
        self.payload = payload
        """JSON of ``data``, still without ``seq``."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and (self.id, self.payload) == (other.id, other.payload)

    def __hash__(self) -> int:
        return hash((self.epoch, self.seq))

    def __repr__(self) -> str:
        return f"Entry({self.id}, {self.type}, {self.run_id}, {self.payload!r})"

    @property
    def id(self) -> str:
        """The reader's position once it has seen this entry."""
        return f"{self.epoch}:{self.seq}"

    @property
    def data(self) -> bytes:
        """The payload with its number in front."""
        return with_seq(self.payload, self.seq)

    @property
    def fields(self) -> Mapping[str, Any]:
        """The payload, parsed anew at each call."""
        parsed: dict[str, Any] = orjson.loads(self.payload)
        return parsed

    @property
    def size(self) -> int:
        """Bytes of the entry once it is encoded, about."""
        return len(self.payload) + _ENVELOPE


class Signal(Record):
    """A record that is in no log: a reset, a hint, a command. It leaves the reader's position as it is."""

    __slots__ = ("_data", "_fields", "type")

    def __init__(self, fields: Mapping[str, Json], data: bytes | None = None) -> None:
        """``data`` is the JSON of ``fields``, where the caller has it already."""
        super().__init__()
        self._fields = fields
        self.type = str(fields["type"])
        self._data = orjson.dumps(fields) if data is None else data

    @property
    def data(self) -> bytes:
        """The fields as JSON."""
        return self._data

    @property
    def fields(self) -> Mapping[str, Any]:
        """The data as it was given."""
        return self._fields


def reset_signal(thread_id: str, reason: str, run_id: str | None = None) -> Signal:
    """Tells a reader that what follows does not continue what it has; ``reason`` says why."""
    return Signal(
        {
            "seq": None,
            "type": RESET,
            "thread_id": thread_id,
            "run_id": run_id,
            "attempt": 0,
            "state_id": None,
            "at": encode_time(utc_now()),
            "reason": reason,
        }
    )


class Batch:
    """Records that are sent at once, to all readers who are at one position of a stream."""

    __slots__ = ("_encoded", "final", "position", "records", "size")

    def __init__(
        self, records: Sequence[Record], position: int = 0, *, size: int = 0, final: bool = False
    ) -> None:
        self.records = records
        self.position = position
        """The number of the log's entry that a reader of the batch has reached."""
        self.size = size
        """Bytes of the entries once they are encoded, about."""
        self.final = final
        """Whether nothing comes after it."""
        self._encoded: dict[Encoder, bytes] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to send."""
        return bool(self.records)

    def encoded(self, encode: Encoder) -> bytes:
        """The records in the protocol of ``encode``, one after the other; joined once for all its readers."""
        encoded = self._encoded.get(encode)
        if encoded is None:
            encoded = self._encoded[encode] = b"".join([record.encoded(encode) for record in self.records])
        return encoded


EMPTY = Batch(())
"""Nothing to send."""


def select_batch(entries: Sequence[Entry], position: int, run_id: str | None) -> Batch:
    """The next batch after ``position`` of a whole thread, or of one run; ends early where it gets large."""
    chosen: list[Entry] = []
    size = 0
    for entry in entries:
        position = entry.seq
        if run_id is None or entry.run_id == run_id:
            chosen.append(entry)
            size += entry.size
            if entry.type == RUN_COMPLETED and run_id:
                return Batch(chosen, position, size=size, final=True)
        if entry.type == THREAD_DELETED:
            return Batch(chosen, position, size=size, final=True)
        if size >= BATCH_BYTES:
            break
    return Batch(chosen, position, size=size)


@dataclass(frozen=True, slots=True)
class Chunk:
    """What was read from a log after a cursor."""

    epoch: str
    """Of the log; empty where there is no log."""
    head: int
    """Number of the newest entry there was; ``entries`` reach it unless they were too many."""
    entries: list[Entry]
    reset: str | None = None
    """Why the cursor cannot be served: epoch, gap or trimmed. There are no entries then."""


def decode_entries(epoch: str, lines: bytes) -> list[Entry]:
    """Entries as the scripts return them: one line ``seq type run_id payload`` each."""
    return [_decode_entry(epoch, line) for line in lines.split(b"\n")] if lines else []


def decode_wakeup(message: bytes) -> Chunk | None:
    """What a published wake-up carries: the log's cursor, and its newest entries if they were small.

    None where it cannot be understood, as one of another version of this program.
    """
    first, *lines = message.split(b"\n")
    cursor = Cursor.decode(first.decode("latin-1"))
    if cursor is None:
        return None
    return Chunk(cursor.epoch, cursor.seq, [_decode_entry(cursor.epoch, line) for line in lines])


def _decode_entry(epoch: str, line: bytes) -> Entry:
    seq, type, run_id, payload = line.split(b" ", 3)
    # One string for all entries of a type and of a run: a ring holds thousands of entries.
    return Entry(epoch, int(seq), sys.intern(type.decode()), sys.intern(run_id.decode()), payload)
