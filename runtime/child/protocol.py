"""The protocol: the events that a child writes, one JSON object per line, decoded and checked.

No malformed output can break a run. A line that is not a JSON object goes to the run's
log; so does an object that is not of the protocol, with a sentence about what is wrong.
A worker may therefore use events of a later version.

Speed matters here: all runs of a pool are decoded on one core. A chunk of lines is
decoded with one call, and line by line only where that fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeVar

import orjson

from runtime.errors import OutputTooLarge, ProtocolError
from runtime.model import MAX_LEVELS, Channel, Json, MessageType, Role, nests_too_deeply

CANCEL: Final = b'{"type":"cancel"}'
"""The line by which a worker is asked to end."""

_MAX_LINE: Final = 16 << 20
_MAX_DATA: Final = 1 << 20
_MAX_NAME: Final = 200
_MAX_SENTENCE: Final = 4000
_MAX_OPTIONS: Final = 100
_MAX_OPEN: Final = 1000


@dataclass(frozen=True, slots=True)
class Delta:
    """Text to append to an open message; without ``ref``, to the implicit one."""

    ref: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Start:
    """A message begins; ``ref`` identifies it until its end."""

    ref: str
    role: Role = Role.ASSISTANT
    type: MessageType = MessageType.TEXT
    channel: Channel = Channel.ANSWER
    author: str | None = None
    data: dict[str, Json] = field(default_factory=dict)
    continues: str | None = None
    """The id of a message that an earlier attempt began, and that goes on instead."""


@dataclass(frozen=True, slots=True)
class End:
    """The message ``ref`` is complete; ``data`` is merged into its own."""

    ref: str
    data: dict[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class CompleteMessage:
    """A complete message in one event."""

    role: Role
    type: MessageType
    channel: Channel
    author: str | None
    content: str
    data: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Step:
    """What the worker does next, as a sentence for the user."""

    description: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What the run has used so far, such as tokens."""

    data: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Discard:
    """What earlier attempts left to go on with is of no use: the run begins anew."""


@dataclass(frozen=True, slots=True)
class Keep:
    """What the worker keeps for the next run from its output state; None: nothing."""

    value: Json


@dataclass(frozen=True, slots=True)
class Confirm:
    """The run waits for its user's answer."""

    id: str
    prompt: str
    options: list[str]
    schema: dict[str, Json] | None = None
    """JSON Schema of the answer."""
    digest: str | None = None
    """Of what is asked, by the worker; kept with the answer."""


@dataclass(frozen=True, slots=True)
class Save:
    """A value to commit, so that a later attempt has it; it is answered."""

    key: str
    value: str
    """JSON in ASCII."""
    digest: str | None = None
    """Of what was asked; given back with the value."""
    usage: dict[str, Json] | None = None
    """What it took to make it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that is answered cannot be done, and this is the answer."""

    type: str
    """Of the event that asked."""
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """The run has succeeded."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The run has failed."""

    message: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class Log:
    """Lines for the run's log; ends with a line break."""

    text: str


WorkerEvent = (
    Delta
    | Start
    | End
    | CompleteMessage
    | Step
    | Usage
    | Keep
    | Discard
    | Confirm
    | Save
    | Refused
    | Done
    | Failed
    | Log
)


class Decoder:
    """Decodes the output of one child."""

    def __init__(self, max_line: int = _MAX_LINE) -> None:
        """``max_line``: the longest line that is accepted, in bytes."""
        self._max_line = max_line
        self._rest: list[bytes] = []
        self._rest_size = 0
        self._open: set[str] = set()
        self._surrogates: dict[str | None, str] = {}
        """High surrogates at the end of a delta, by message, until the low surrogate arrives."""

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
        return [*events, *self._flush_surrogates()]

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
                if line.strip():
                    _log(events, line.decode("utf-8", "replace").rstrip("\r"))
            else:
                self._add(events, fields)
        return events

    def _add(self, events: list[WorkerEvent], fields: dict[str, Any]) -> None:
        try:
            self._add_event(events, _decode(fields))
        except ProtocolError as error:
            _log(events, f"[branchline] ignored an event of the worker: {error}")
            key = fields.get("key")
            if fields.get("type") == "save" and isinstance(key, str):
                events.append(Refused("save", key, str(error)))

    def _add_event(self, events: list[WorkerEvent], event: WorkerEvent) -> None:
        """Append ``event``, after checking that its message is open and completing cut characters."""
        match event:
            case Delta(ref, text):
                self._check_open(ref)
                text = self._complete_characters(ref, text)
                if text:
                    _delta(events, ref, text)
                return
            case Start(ref):
                if ref in self._open:
                    raise ProtocolError(f"the message {ref!r} is open already")
                if len(self._open) >= _MAX_OPEN:
                    raise ProtocolError(f"more than {_MAX_OPEN} messages are open")
                events += self._flush_surrogates(None)
                self._open.add(ref)
            case End(ref):
                self._check_open(ref)
                events += self._flush_surrogates(ref)
                self._open.discard(ref)
            case CompleteMessage():
                events += self._flush_surrogates(None)
            case Confirm() | Done() | Failed():
                events += self._flush_surrogates()
                self._open.clear()
        events.append(event)

    def _check_open(self, ref: str | None) -> None:
        if ref is not None and ref not in self._open:
            raise ProtocolError(f"no message {ref!r} is open; send start first")

    def _complete_characters(self, ref: str | None, text: str) -> str:
        """``text`` without a high surrogate at its end, which is kept until the low one arrives."""
        text = self._surrogates.pop(ref, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._surrogates[ref] = text[-1]
            text = text[:-1]
        return _clean(text)

    def _flush_surrogates(self, *refs: str | None) -> Iterable[Delta]:
        """U+FFFD for kept surrogates whose pair will not be completed (without ``refs``, of all messages)."""
        lone = [ref for ref in (refs or tuple(self._surrogates)) if self._surrogates.pop(ref, None)]
        return [Delta(ref, "\ufffd") for ref in lone]


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

    What orjson rejects is tried with the standard library, which accepts half a surrogate pair.
    """
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        value = orjson.loads(line)
    except ValueError:
        try:
            value = json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# ── fields ──────────────────────────────────────────────────────────────────


def _decode(fields: Mapping[str, Any]) -> WorkerEvent:
    """The event that an object describes. Raises ProtocolError with a sentence."""
    match fields.get("type"):
        case "delta":
            return Delta(_name(fields, "ref"), _text(fields, "text", clean=False))
        case "start":
            return Start(
                _required_name(fields, "ref"),
                *_head(fields),
                _data(fields) or {},
                _name(fields, "continues"),
            )
        case "end":
            return End(_required_name(fields, "ref"), _data(fields))
        case "message":
            role, type, channel, author = _head(fields)
            return CompleteMessage(
                role, type, channel, author, _text(fields, "content", ""), _data(fields) or {}
            )
        case "step":
            return Step(_text(fields, "description")[:_MAX_SENTENCE])
        case "usage":
            return Usage(_bounded({key: value for key, value in fields.items() if key != "type"}))
        case "confirm":
            prompt = _text(fields, "prompt")
            return Confirm(
                _required_name(fields, "id"),
                prompt[: _MAX_DATA // 4],
                _options(fields),
                _data(fields, "schema"),
                _name(fields, "digest"),
            )
        case "save":
            return Save(
                _key(fields),
                _json(fields, "value"),
                _name(fields, "digest"),
                _data(fields, "usage"),
            )
        case "state":
            if "value" not in fields:
                raise ProtocolError('"value" of state is missing')
            return Keep(_bounded(fields["value"]))
        case "discard":
            return Discard()
        case "done":
            return Done()
        case "error":
            message = _text(fields, "message", "The worker failed.")
            return Failed(message[:_MAX_SENTENCE], fields.get("retryable") is True)
        case str(other):
            raise ProtocolError(f"the type {other[:_MAX_NAME]!r} is unknown")
        case _:
            raise ProtocolError('it has no "type"')


def _text(fields: Mapping[str, Any], key: str, default: str | None = None, clean: bool = True) -> str:
    text = fields.get(key, default)
    if not isinstance(text, str):
        raise ProtocolError(f'"{key}" of {fields["type"]} must be a string')
    return _clean(text) if clean else text


def _name(fields: Mapping[str, Any], key: str) -> str | None:
    name = fields.get(key)
    if name is None:
        return None
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
        raise ProtocolError(f'"{key}" of {fields["type"]} must be a string of 1 to {_MAX_NAME} characters')
    return _clean(name)


def _required_name(fields: Mapping[str, Any], key: str) -> str:
    name = _name(fields, key)
    if name is None:
        raise ProtocolError(f'"{key}" of {fields["type"]} is missing')
    return name


def _key(fields: Mapping[str, Any]) -> str:
    """The key of something that is answered by it, so it is taken as it is or not at all."""
    key = _required_name(fields, "key")
    if key != fields["key"]:
        raise ProtocolError(f'"key" of {fields["type"]} has NUL or half of a surrogate pair')
    return key


_Choice = TypeVar("_Choice", bound=StrEnum)


def _choice(fields: Mapping[str, Any], key: str, default: _Choice) -> _Choice:
    kind = type(default)
    try:
        return kind(fields.get(key) or default)
    except ValueError:
        raise ProtocolError(f'"{key}" of {fields["type"]} must be one of {", ".join(kind)}') from None


def _head(fields: Mapping[str, Any]) -> tuple[Role, MessageType, Channel, str | None]:
    return (
        _choice(fields, "role", Role.ASSISTANT),
        _choice(fields, "message_type", MessageType.TEXT),
        _choice(fields, "channel", Channel.ANSWER),
        _name(fields, "author"),
    )


def _data(fields: Mapping[str, Any], key: str = "data") -> dict[str, Json] | None:
    data = fields.get(key)
    if data is None:
        return None
    if not isinstance(data, dict):
        raise ProtocolError(f'"{key}" of {fields["type"]} must be an object')
    return _bounded(data)


_Data = TypeVar("_Data")


def _bounded(data: _Data) -> _Data:
    """``data``, if every database and client can hold it. Raises ProtocolError."""
    try:
        data = _clean_all(data)
        size = len(orjson.dumps(data))
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError("its data is nested too deeply or has numbers that are too large") from error
    if nests_too_deeply(data):
        raise ProtocolError(f"its data nests deeper than {MAX_LEVELS} levels")
    if size > _MAX_DATA:
        raise ProtocolError(f"its data is larger than {_MAX_DATA} bytes")
    return data


def _json(fields: Mapping[str, Any], key: str) -> str:
    """A value as JSON in ASCII, which every database keeps as it is. Raises ProtocolError."""
    if key not in fields:
        raise ProtocolError(f'"{key}" of {fields["type"]} is missing')
    try:
        text = json.dumps(fields[key], separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f'"{key}" of {fields["type"]} nests too deeply, or has no JSON number') from error
    if len(text) > _MAX_DATA:
        raise ProtocolError(f'"{key}" of {fields["type"]} is larger than {_MAX_DATA} bytes')
    return text


def _options(fields: Mapping[str, Any]) -> list[str]:
    options = fields.get("options") or []
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise ProtocolError('"options" of confirm must be a list of strings')
    if len(options) > _MAX_OPTIONS:
        raise ProtocolError(f'"options" of confirm may have {_MAX_OPTIONS} entries')
    return [_clean(option)[:_MAX_SENTENCE] for option in options]


def _clean(text: str) -> str:
    """``text`` with U+FFFD for NUL and for halves of surrogate pairs; whole pairs are joined."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _clean_all(value: Any) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, list):
        return [_clean_all(inner) for inner in value]
    if isinstance(value, dict):
        return {_clean(key): _clean_all(inner) for key, inner in value.items()}
    return value
