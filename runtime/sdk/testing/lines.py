"""What a worker's lines say, by the rules of the pool.

:mod:`runtime.child.protocol` is what the pool itself decodes lines with. It needs a library,
and the SDK none; so the rules stand here a second time, as short as they can be where
speed does not matter. tests/unit/test_sdk_testing.py holds both to the same answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from runtime.sdk.messages import Json

Fields = dict[str, Json]

MAX_LINE = 16 << 20
_MAX_DATA = 1 << 20
_MAX_NAME = 200
_MAX_SENTENCE = 4000
_MAX_OPTIONS = 100
_MAX_OPEN = 1000
_MAX_LEVELS = 56
_SMALLEST, _LARGEST = -(1 << 63), (1 << 64) - 1
_CHOICES = {
    "role": ("assistant", ("system", "user", "assistant", "tool")),
    "message_type": ("text", ("text", "code", "console", "image", "function", "confirmation")),
    "channel": ("answer", ("answer", "reasoning")),
}
"""The default of a field, and its values."""


class Wrong(Exception):
    """An object is not of the protocol; the message says why."""


class Decoder:
    """Decodes the lines of one attempt."""

    def __init__(self) -> None:
        self._open: set[str] = set()
        self._halves: dict[str | None, str] = {}
        """High surrogates at the end of a delta, by message, until the low one arrives."""

    def decode(self, line: bytes) -> list[Fields]:
        """The events of a line, complete and clean. Raises Wrong."""
        event = _checked(json.loads(line, parse_int=_number))
        ref: Any = event.get("ref")
        match event["type"]:
            case "delta":
                self._check_open(ref)
                text = self._halves.pop(ref, "") + event["text"]
                if text and "\ud800" <= text[-1] <= "\udbff":
                    self._halves[ref], text = text[-1], text[:-1]
                return [{**event, "text": _clean(text)}] if text else []
            case "start":
                if ref in self._open:
                    raise Wrong(f"the message {ref!r} is open already")
                if len(self._open) >= _MAX_OPEN:
                    raise Wrong(f"more than {_MAX_OPEN} messages are open")
                self._open.add(ref)
                return [*self._left([None]), event]
            case "end":
                self._check_open(ref)
                self._open.discard(ref)
                return [*self._left([ref]), event]
            case "message":
                return [*self._left([None]), event]
            case "confirm" | "done" | "error":
                self._open.clear()
                return [*self.end(), event]
        return [event]

    def end(self) -> list[Fields]:
        """The output has ended."""
        return self._left(list(self._halves))

    def _check_open(self, ref: str | None) -> None:
        if ref is not None and ref not in self._open:
            raise Wrong(f"no message {ref!r} is open; send start first")

    def _left(self, refs: list[str | None]) -> list[Fields]:
        """U+FFFD for halves whose pair will not be completed."""
        lone = [ref for ref in refs if self._halves.pop(ref, None)]
        return [{"type": "delta", "ref": ref, "text": "\ufffd"} for ref in lone]


def _checked(fields: Fields) -> Fields:
    """An event with all its fields."""
    kind = fields.get("type")
    match kind:
        case "delta":
            said: Fields = {"ref": _name(fields, "ref"), "text": _text(fields, "text", clean=False)}
        case "start":
            said = {
                "ref": _required(fields, "ref"),
                **_head(fields),
                "data": _data(fields) or {},
                "continues": _name(fields, "continues"),
            }
        case "end":
            said = {"ref": _required(fields, "ref"), "data": _data(fields)}
        case "message":
            said = {**_head(fields), "content": _text(fields, "content", ""), "data": _data(fields) or {}}
        case "step":
            said = {"description": _text(fields, "description")[:_MAX_SENTENCE]}
        case "usage":
            said = {"amounts": _bounded({name: value for name, value in fields.items() if name != "type"})}
        case "confirm":
            said = {
                "prompt": _text(fields, "prompt")[: _MAX_DATA // 4],
                "id": _required(fields, "id"),
                "options": _options(fields),
                "schema": _data(fields, "schema"),
                "digest": _name(fields, "digest"),
            }
        case "save":
            said = {
                "key": _key(fields),
                "value": _json(fields, "value"),
                "digest": _name(fields, "digest"),
                "usage": _data(fields, "usage"),
            }
        case "state":
            if "value" not in fields:
                raise Wrong('"value" of state is missing')
            said = {"value": _bounded(fields["value"])}
        case "discard" | "done":
            said = {}
        case "error":
            message = _text(fields, "message", "The worker failed.")[:_MAX_SENTENCE]
            said = {"message": message, "retryable": fields.get("retryable") is True}
        case str(other):
            raise Wrong(f"the type {other[:_MAX_NAME]!r} is unknown")
        case _:
            raise Wrong('it has no "type"')
    return {"type": kind, **said}


def _text(fields: Fields, key: str, default: str | None = None, clean: bool = True) -> str:
    text = fields.get(key, default)
    if not isinstance(text, str):
        raise Wrong(f'"{key}" of {fields["type"]} must be a string')
    return _clean(text) if clean else text


def _name(fields: Fields, key: str) -> str | None:
    name = fields.get(key)
    if name is None:
        return None
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
        raise Wrong(f'"{key}" of {fields["type"]} must be a string of 1 to {_MAX_NAME} characters')
    return _clean(name)


def _required(fields: Fields, key: str) -> str:
    name = _name(fields, key)
    if name is None:
        raise Wrong(f'"{key}" of {fields["type"]} is missing')
    return name


def _key(fields: Fields) -> str:
    key = _required(fields, "key")
    if key != fields["key"]:
        raise Wrong(f'"key" of {fields["type"]} has NUL or half of a surrogate pair')
    return key


def _head(fields: Fields) -> Fields:
    head: Fields = {}
    for key, (default, values) in _CHOICES.items():
        head[key] = fields.get(key) or default
        if head[key] not in values:
            raise Wrong(f'"{key}" of {fields["type"]} must be one of {", ".join(values)}')
    return {**head, "author": _name(fields, "author")}


def _data(fields: Fields, key: str = "data") -> Fields | None:
    data = fields.get(key)
    if data is None:
        return None
    if not isinstance(data, dict):
        raise Wrong(f'"{key}" of {fields["type"]} must be an object')
    bounded: Fields = _bounded(data)
    return bounded


def _bounded(data: Any) -> Any:
    data = _clean_all(data)
    if _levels(data) > _MAX_LEVELS:
        raise Wrong(f"its data nests deeper than {_MAX_LEVELS} levels")
    if size_of(data) > _MAX_DATA:
        raise Wrong(f"its data is larger than {_MAX_DATA} bytes")
    return data


def _json(fields: Fields, key: str) -> str:
    if key not in fields:
        raise Wrong(f'"{key}" of {fields["type"]} is missing')
    text = json.dumps(fields[key], separators=(",", ":"), allow_nan=False)
    if len(text) > _MAX_DATA:
        raise Wrong(f'"{key}" of {fields["type"]} is larger than {_MAX_DATA} bytes')
    return text


def _options(fields: Fields) -> list[str]:
    options = fields.get("options") or []
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise Wrong('"options" of confirm must be a list of strings')
    if len(options) > _MAX_OPTIONS:
        raise Wrong(f'"options" of confirm may have {_MAX_OPTIONS} entries')
    return [_clean(option)[:_MAX_SENTENCE] for option in options]


def size_of(data: Json) -> int:
    """Bytes as JSON."""
    return len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())


def _levels(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max((_levels(inner) for inner in _inner(value)), default=0)


def _number(text: str) -> int | float:
    """A whole number, as far as 64 bits can hold it."""
    number = int(text)
    return number if _SMALLEST <= number <= _LARGEST else float(text)


def _inner(value: Mapping[str, Json] | list[Json]) -> list[Json]:
    return list(value.values()) if isinstance(value, Mapping) else value


def _clean(text: str) -> str:
    """With U+FFFD for NUL and for halves of surrogate pairs; whole pairs are joined."""
    text = text.replace("\0", "\ufffd")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _clean_all(value: Any) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, list):
        return [_clean_all(inner) for inner in value]
    if isinstance(value, dict):
        return {_clean(key): _clean_all(inner) for key, inner in value.items()}
    return value
