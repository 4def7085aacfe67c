"""The protocol: what a child says, one JSON object per line, decoded and checked.

Nothing that a child writes can break its run by its form. What is no JSON object,
and an object that is not of the protocol, goes to the run's log, the second with a
sentence that says what is wrong with it; so a worker may speak a later version.

Speed matters here: all runs of a pool are decoded on one core. A chunk of lines is
decoded in one go, and taken line by line only where that fails.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeVar

import orjson

from runtime.errors import OutputTooLarge, ProtocolError
from runtime.model import Channel, Json, MessageType, Role

_MAX_LINE: Final = 16 << 20
_MAX_DATA: Final = 1 << 20
_MAX_NAME: Final = 200
_MAX_SENTENCE: Final = 4000
_MAX_OPTIONS: Final = 100
_MAX_OPEN: Final = 1000


@dataclass(frozen=True, slots=True)
class Delta:
    """Text to append to an open message; without ``ref`` to the one that opens by itself."""

    ref: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Start:
    """A message begins; until its end the child calls it ``ref``."""

    ref: str
    role: Role = Role.ASSISTANT
    type: MessageType = MessageType.TEXT
    channel: Channel = Channel.ANSWER
    author: str | None = None
    data: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class End:
    """The message ``ref`` is whole; ``data`` is added to what it had."""

    ref: str
    data: dict[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class CompleteMessage:
    """A message, all at once."""

    role: Role
    type: MessageType
    channel: Channel
    author: str | None
    content: str
    data: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Step:
    """What the child is about to do."""

    description: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What the run has used so far."""

    data: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Confirm:
    """The run is to wait for its user's answer."""

    id: str
    prompt: str
    options: list[str]


@dataclass(frozen=True, slots=True)
class Done:
    """The run has ended well."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The run has failed."""

    message: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class Log:
    """Lines for the run's log; ends with a line break."""

    text: str


WorkerEvent = Delta | Start | End | CompleteMessage | Step | Usage | Confirm | Done | Failed | Log


class Decoder:
    """Decodes the output of one child."""

    def __init__(self, max_line: int = _MAX_LINE) -> None:
        """``max_line``: the longest line that is taken, in bytes."""
        self._max_line = max_line
        self._rest: list[bytes] = []
        self._rest_size = 0
        self._open: set[str] = set()
        self._halves: dict[str | None, str] = {}
        """First halves of surrogate pairs, by the message that waits for the second."""

    def feed(self, chunk: bytes) -> list[WorkerEvent]:
        """What the lines that end in ``chunk`` say; deltas of one message joined.

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
        said = self._lines(lines)
        if rest:
            self._keep(rest)
        return said

    def end(self) -> list[WorkerEvent]:
        """What is left when the output has ended: a last line without a line break."""
        lines = b"".join(self._rest)
        self._rest, self._rest_size = [], 0
        said = self._lines(lines) if lines else []
        return [*said, *self._lone_halves()]

    def _keep(self, part: bytes) -> None:
        self._rest.append(part)
        self._rest_size += len(part)
        if self._rest_size > self._max_line:
            raise OutputTooLarge(f"The worker wrote a line of more than {self._max_line} bytes.")

    def _lines(self, lines: bytes) -> list[WorkerEvent]:
        objects = self._at_once(lines)
        if objects is None:
            return self._one_by_one(lines)
        said: list[WorkerEvent] = []
        ref: str | None = None
        texts: list[str] = []
        for one in objects:
            if one.get("type") == "delta" and not self._halves:
                text, to = one.get("text"), one.get("ref")
                if text.__class__ is str and (to is None or (to.__class__ is str and to in self._open)):
                    if to != ref:
                        _flush(said, ref, texts)
                        ref = to
                    texts.append(text)
                    continue
            _flush(said, ref, texts)
            self._take(said, one)
        _flush(said, ref, texts)
        return said

    @staticmethod
    def _at_once(lines: bytes) -> list[dict[str, Any]] | None:
        """All lines decoded in one go; None where they must be looked at one by one.

        An escaped NUL or half of a surrogate pair leads to the slow way, so the fast
        one need not look into texts.
        """
        if b"\\u0000" in lines:
            return None
        try:
            objects = orjson.loads(b"[%b]" % lines.replace(b"\n", b","))
        except ValueError:
            return None
        if len(objects) != lines.count(b"\n") + 1 or not all(one.__class__ is dict for one in objects):
            return None
        return objects  # type: ignore[no-any-return]

    def _one_by_one(self, lines: bytes) -> list[WorkerEvent]:
        said: list[WorkerEvent] = []
        for line in filter(None, lines.split(b"\n")):
            one = _object(line)
            if one is None:
                if line.strip():
                    _log(said, line.decode("utf-8", "replace").rstrip("\r"))
            else:
                self._take(said, one)
        return said

    def _take(self, said: list[WorkerEvent], one: dict[str, Any]) -> None:
        try:
            self._say(said, _decode(one))
        except ProtocolError as error:
            _log(said, f"[branchline] ignored what the worker said: {error}")

    def _say(self, said: list[WorkerEvent], one: WorkerEvent) -> None:
        """Add ``one`` in its place: open messages only, and no half characters left behind."""
        match one:
            case Delta(ref, text):
                self._known(ref)
                text = self._whole_characters(ref, text)
                if text:
                    _delta(said, ref, text)
                return
            case Start(ref):
                if ref in self._open:
                    raise ProtocolError(f"the message {ref!r} is open already")
                if len(self._open) >= _MAX_OPEN:
                    raise ProtocolError(f"more than {_MAX_OPEN} messages are open")
                said += self._lone_halves(None)
                self._open.add(ref)
            case End(ref):
                self._known(ref)
                said += self._lone_halves(ref)
                self._open.discard(ref)
            case CompleteMessage():
                said += self._lone_halves(None)
            case Confirm() | Done() | Failed():
                said += self._lone_halves()
                self._open.clear()
        said.append(one)

    def _known(self, ref: str | None) -> None:
        if ref is not None and ref not in self._open:
            raise ProtocolError(f"no message {ref!r} is open; say start first")

    def _whole_characters(self, ref: str | None, text: str) -> str:
        """``text`` without a first half of a pair at its end, which waits for the second."""
        text = self._halves.pop(ref, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._halves[ref] = text[-1]
            text = text[:-1]
        return _clean(text)

    def _lone_halves(self, *refs: str | None) -> Iterable[Delta]:
        """U+FFFD for halves whose other half will not come (of all messages, without ``refs``)."""
        lone = [ref for ref in (refs or tuple(self._halves)) if self._halves.pop(ref, None)]
        return [Delta(ref, "\ufffd") for ref in lone]


def _flush(said: list[WorkerEvent], ref: str | None, texts: list[str]) -> None:
    """The deltas collected so far as one. An empty one says nothing."""
    text = "".join(texts)
    texts.clear()
    if text:
        _delta(said, ref, text)


def _delta(said: list[WorkerEvent], ref: str | None, text: str) -> None:
    last = said[-1] if said else None
    if isinstance(last, Delta) and last.ref == ref:
        said[-1] = Delta(ref, last.text + text)
    else:
        said.append(Delta(ref, text))


def _log(said: list[WorkerEvent], line: str) -> None:
    line = line.replace("\0", "\ufffd") + "\n"
    last = said[-1] if said else None
    if isinstance(last, Log):
        said[-1] = Log(last.text + line)
    else:
        said.append(Log(line))


def _object(line: bytes) -> dict[str, Any] | None:
    """The JSON object on a line; None where it is something else.

    The standard library's decoder has the second say: it takes half a surrogate pair.
    """
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        one = orjson.loads(line)
    except ValueError:
        try:
            one = json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return None
    return one if isinstance(one, dict) else None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# ── fields ──────────────────────────────────────────────────────────────────


def _decode(one: Mapping[str, Any]) -> WorkerEvent:
    """The object as what it says. Raises ProtocolError with a sentence."""
    match one.get("type"):
        case "delta":
            return Delta(_name(one, "ref"), _text(one, "text", clean=False))
        case "start":
            return Start(_required_name(one, "ref"), *_head(one), _data(one) or {})
        case "end":
            return End(_required_name(one, "ref"), _data(one))
        case "message":
            role, type, channel, author = _head(one)
            return CompleteMessage(role, type, channel, author, _text(one, "content", ""), _data(one) or {})
        case "step":
            return Step(_text(one, "description")[:_MAX_SENTENCE])
        case "usage":
            return Usage(_bounded({key: value for key, value in one.items() if key != "type"}))
        case "confirm":
            prompt = _text(one, "prompt")
            return Confirm(_required_name(one, "id"), prompt[: _MAX_DATA // 4], _options(one))
        case "done":
            return Done()
        case "error":
            message = _text(one, "message", "The worker failed.")
            return Failed(message[:_MAX_SENTENCE], one.get("retryable") is True)
        case str(other):
            raise ProtocolError(f"the type {other[:_MAX_NAME]!r} is unknown")
        case _:
            raise ProtocolError('it has no "type"')


def _text(one: Mapping[str, Any], key: str, default: str | None = None, clean: bool = True) -> str:
    text = one.get(key, default)
    if not isinstance(text, str):
        raise ProtocolError(f'"{key}" of {one["type"]} must be a text')
    return _clean(text) if clean else text


def _name(one: Mapping[str, Any], key: str) -> str | None:
    name = one.get(key)
    if name is None:
        return None
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
        raise ProtocolError(f'"{key}" of {one["type"]} must be a text of 1 to {_MAX_NAME} characters')
    return _clean(name)


def _required_name(one: Mapping[str, Any], key: str) -> str:
    name = _name(one, key)
    if name is None:
        raise ProtocolError(f'"{key}" of {one["type"]} is missing')
    return name


_Choice = TypeVar("_Choice", bound=StrEnum)


def _choice(one: Mapping[str, Any], key: str, default: _Choice) -> _Choice:
    kind = type(default)
    try:
        return kind(one.get(key) or default)
    except ValueError:
        raise ProtocolError(f'"{key}" of {one["type"]} must be one of {", ".join(kind)}') from None


def _head(one: Mapping[str, Any]) -> tuple[Role, MessageType, Channel, str | None]:
    return (
        _choice(one, "role", Role.ASSISTANT),
        _choice(one, "message_type", MessageType.TEXT),
        _choice(one, "channel", Channel.ANSWER),
        _name(one, "author"),
    )


def _data(one: Mapping[str, Any]) -> dict[str, Json] | None:
    data = one.get("data")
    if data is None:
        return None
    if not isinstance(data, dict):
        raise ProtocolError(f'"data" of {one["type"]} must be an object')
    return _bounded(data)


def _bounded(data: dict[str, Json]) -> dict[str, Json]:
    """``data``, if every store and client can hold it."""
    try:
        data = _clean_all(data)
        size = len(orjson.dumps(data))
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError("its data is nested too deeply or has numbers that are too large") from error
    if size > _MAX_DATA:
        raise ProtocolError(f"its data is larger than {_MAX_DATA} bytes")
    return data


def _options(one: Mapping[str, Any]) -> list[str]:
    options = one.get("options") or []
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise ProtocolError('"options" of confirm must be a list of texts')
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
