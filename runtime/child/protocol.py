"""The protocol: the events that a child writes, one JSON object per line, decoded and checked.

No malformed output can break a run. A line that is not a JSON object goes to the run's
log; so does an object that is not of the protocol, with a sentence about what is wrong.
A worker may therefore use events of a later version. What its text is encoded as hides
nothing: bytes that are no UTF-8 are U+FFFD, and UTF-16 is an error.

Speed matters here: all runs of a pool are decoded on one core. A chunk of lines is
decoded with one call, and line by line only where that fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from runtime.errors import OutputTooLarge
from runtime.sdk.protocol import (
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
    is_utf16,
)

__all__ = [
    "CANCEL",
    "Call",
    "CompleteMessage",
    "Confirm",
    "Decoder",
    "Delta",
    "Discard",
    "Done",
    "End",
    "Failed",
    "Finish",
    "Follow",
    "State",
    "Log",
    "ReadInbox",
    "Refused",
    "Save",
    "Send",
    "Start",
    "Step",
    "Usage",
    "WorkerEvent",
]

CANCEL: Final = b'{"type":"cancel"}'
"""The line by which a worker is asked to end."""
TIMEOUT: Final = b'{"type":"timeout"}'
"""The line by which a worker is told that its time is over; SIGTERM follows."""
_OTHER_ENCODING: Final = (
    "The worker writes UTF-16, and a line of the protocol is UTF-8. Set the encoding of its output; in "
    "PowerShell: [Console]::OutputEncoding = [Text.UTF8Encoding]::new($false)"
)
NO_MESSAGE: Final = b'{"type":"message","id":null,"message":null}'
"""The line by which a worker is told that its inbox is empty."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that is answered cannot be done, and this is the answer."""

    type: str
    """Of the event that asked."""
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Log:
    """Lines for the run's log; ends with a line break."""

    text: str


WorkerEvent = Event | Refused | Log


class Decoder:
    """Decodes the output of one child."""

    def __init__(self, max_line: int = MAX_LINE, elsewhere: bool = False) -> None:
        """``max_line``: the longest line that is accepted, in bytes.

        ``elsewhere``: a machine elsewhere executes the child, and sends lines of its own with those of it.
        """
        self._max_line = max_line
        self._rest: list[bytes] = []
        self._rest_size = 0
        self._reader = Reader(elsewhere)
        self._open = self._reader.open
        self._surrogates = self._reader.surrogates

    def feed(self, chunk: bytes) -> list[WorkerEvent]:
        """The events of the lines that end in ``chunk``; adjacent deltas of a message are joined.

        Raises OutputTooLarge for a line over the limit.
        """
        lines, newline, rest = chunk.rpartition(b"\n")
        if not newline:
            self._keep(chunk)
            return []
        if self._rest:
            self._keep(lines[: lines.find(b"\n")] if b"\n" in lines else lines)
            lines = b"".join((*self._rest[:-1], lines))
        self._rest, self._rest_size = [], 0
        events = self._decode_lines(lines)
        if rest:
            self._keep(rest)
        return events

    def end(self) -> list[WorkerEvent]:
        """The remaining events when the output has ended: of a last line without a line break."""
        lines = b"".join(self._rest)
        self._rest, self._rest_size = [], 0
        events = self._decode_lines(lines) if lines else []
        return [*events, *self._reader.end()]

    def _keep(self, part: bytes) -> None:
        self._rest.append(part)
        self._rest_size += len(part)
        if self._rest_size > self._max_line:
            raise OutputTooLarge(f"The worker wrote a line of more than {self._max_line} bytes.")

    def _decode_lines(self, lines: bytes) -> list[WorkerEvent]:
        objects = self._decode_batch(lines)
        if objects is None:
            return self._decode_each(lines)
        events: list[WorkerEvent] = []
        ref: str | None = None
        texts: list[str] = []
        for fields in objects:
            if fields.get("type") == "delta" and not self._surrogates:
                text, to = fields.get("text"), fields.get("ref")
                if text.__class__ is str and (to is None or (to.__class__ is str and to in self._open)):
                    if to != ref:
                        _flush(events, ref, texts)
                        ref = to
                    texts.append(text)
                    continue
            _flush(events, ref, texts)
            self._add(events, fields)
        _flush(events, ref, texts)
        return events

    @staticmethod
    def _decode_batch(lines: bytes) -> list[dict[str, Any]] | None:
        """All lines decoded with one call; None where each must be decoded by itself.

        That is so for an escaped NUL and for half of a surrogate pair, so this path need
        not inspect any text.
        """
        if b"\\u0000" in lines:
            return None
        try:
            objects = orjson.loads(b"[%b]" % lines.replace(b"\n", b","))
        except ValueError:
            return None
        if len(objects) != lines.count(b"\n") + 1 or not all(fields.__class__ is dict for fields in objects):
            return None
        return objects  # type: ignore[no-any-return]

    def _decode_each(self, lines: bytes) -> list[WorkerEvent]:
        events: list[WorkerEvent] = []
        for line in filter(None, lines.split(b"\n")):
            fields = _object(line)
            if fields is None:
                if is_utf16(line):
                    self._add(events, {"type": "error", "message": _OTHER_ENCODING})
                elif line.strip():
                    _log(events, line.decode("utf-8", "replace").rstrip("\r"))
            else:
                self._add(events, fields)
        return events

    def _add(self, events: list[WorkerEvent], fields: dict[str, Any]) -> None:
        if fields.get("type") == "alive":
            return  # a sign of life of a machine elsewhere
        if fields.get("type") == "log" and isinstance(fields.get("text"), str):
            return _log(events, fields["text"].rstrip("\n"))
        try:
            said = self._reader.read(fields)
        except ProtocolError as error:
            _log(events, f"[branchline] ignored an event of the worker: {error}")
            if asked := asked_for(fields):
                events.append(Refused(*asked, str(error)))
            return
        for event in said:
            if isinstance(event, Delta):
                _delta(events, event.ref, event.text)
            else:
                events.append(event)


def _flush(events: list[WorkerEvent], ref: str | None, texts: list[str]) -> None:
    """Append the texts collected so far as one delta, unless they are empty."""
    text = "".join(texts)
    texts.clear()
    if text:
        _delta(events, ref, text)


def _delta(events: list[WorkerEvent], ref: str | None, text: str) -> None:
    last = events[-1] if events else None
    if isinstance(last, Delta) and last.ref == ref:
        events[-1] = Delta(ref, last.text + text)
    else:
        events.append(Delta(ref, text))


def _log(events: list[WorkerEvent], line: str) -> None:
    line = line.replace("\0", "\ufffd") + "\n"
    last = events[-1] if events else None
    if isinstance(last, Log):
        events[-1] = Log(last.text + line)
    else:
        events.append(Log(line))


def _object(line: bytes) -> dict[str, Any] | None:
    """The JSON object on a line; None where it is something else.

    What orjson rejects is tried with the standard library: half a surrogate pair, or bytes that are no UTF-8.
    """
    try:
        value = orjson.loads(line)
    except ValueError:
        return decode_line(line)
    return value if isinstance(value, dict) else None
