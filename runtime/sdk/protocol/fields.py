"""The fields of a line: which there are, of which types, and how large they may be."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, TypeVar

from ..messages import Json
from .events import (
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
    ReadInbox,
    Save,
    Send,
    Start,
    State,
    Step,
    Usage,
)
from .message_types import fitting, mistake
from .values import MAX_LEVELS, Channel, MessageType, Role, nests_too_deeply

MAX_LINE: Final = 16 << 20
"""Bytes that a line may have."""
_MAX_DATA: Final = 1 << 20
_MAX_NAME: Final = 200
_MAX_SENTENCE: Final = 4000
_EXITS: Final = ("worker_crashed", "lost", "timeout", "output_too_large")
"""Why a worker on a machine elsewhere has ended that has not said how."""
_MAX_OPTIONS: Final = 100
_MAX_MESSAGES: Final = 1000
_MAX_FILES: Final = 20
_FILE_ID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LONGEST_PAUSE: Final = 3600.0
"""Seconds that a worker may ask to wait before it is tried again."""
_ANSWERED_BY: Final = {"save": "key", "call": "id"}
"""The lines that the pool answers, and the field by which."""
_UTF16: Final = (b"\xff\xfe{\0", b"\xfe\xff\0{", b'{\0"\0', b"\0{\0")
_SMALLEST, _LARGEST = -(1 << 63), (1 << 64) - 1
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_ASCII_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


class ProtocolError(Exception):
    """A line does not follow the protocol; the message says why, as half a sentence."""


def decode_line(line: bytes) -> dict[str, Any] | None:
    """The JSON object on a line; None where it is something else.

    A byte order mark before it is skipped, and bytes that are no UTF-8 are U+FFFD: some programs
    write such lines, and what is said in them is not to be missing.
    """
    line = line.removeprefix(codecs.BOM_UTF8)
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        value = json.loads(_text_of(line), parse_constant=_no_constant, parse_int=_number)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def is_utf16(line: bytes) -> bool:
    """Whether a line begins as an object does in UTF-16, which cannot be read line by line."""
    return line.startswith(_UTF16)


def _text_of(line: bytes) -> str:
    try:
        return line.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return line.decode("utf-8", "replace")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _number(text: str) -> int | float:
    """A whole number, as far as 64 bits can hold it."""
    if len(text) > 20:
        return float(text)
    number = int(text)
    return number if _SMALLEST <= number <= _LARGEST else float(text)


def asked_for(fields: Mapping[str, Any]) -> tuple[str, str] | None:
    """Type and key of a line that the pool answers, so that it also answers one that it cannot read."""
    kind = fields.get("type")
    key = fields.get(_ANSWERED_BY.get(str(kind), ""))
    return (str(kind), key) if isinstance(key, str) else None


def size_of(data: Json) -> int:
    """Bytes as JSON."""
    return len(_JSON.encode(data).encode())


def decode(fields: Mapping[str, Any]) -> Event:
    """The event that an object describes. Raises ProtocolError with a sentence."""
    match fields.get("type"):
        case "delta":
            return Delta(_name(fields, "ref"), _string(fields, "text"))
        case "start":
            ref, head = _required_name(fields, "ref"), _head(fields)
            return Start(ref, *head, _data_of(head[1], fields), _name(fields, "continues"))
        case "end":
            return End(_required_name(fields, "ref"), _data(fields))
        case "message":
            role, type, channel, author = _head(fields)
            content, data = _text(fields, "content", ""), _data_of(type, fields)
            return CompleteMessage(role, type, channel, author, content, data, _files(fields))
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
                _name(fields, "call"),
            )
        case "save":
            return Save(
                _key(fields),
                _json(fields, "value"),
                _name(fields, "digest"),
                _data(fields, "usage"),
            )
        case "inbox":
            return ReadInbox(fields.get("earlier") is True, _number_of(fields))
        case "call":
            return Call(
                _key(fields, "id"),
                _required_name(fields, "worker_id"),
                _messages(fields),
                _data(fields, "config"),
                _bounded(fields.get("args")),
            )
        case "follow":
            return Follow(_key(fields, "id"))
        case "state":
            if "value" not in fields:
                raise ProtocolError('"value" of state is missing')
            return State(_bounded(fields["value"]))
        case "finish":
            return Finish(_text(fields, "reason", "")[:_MAX_SENTENCE])
        case "send":
            return _send(fields)
        case "discard":
            return Discard()
        case "done":
            return Done()
        case "error":
            message = _text(fields, "message", "The worker failed.")
            return Failed(message[:_MAX_SENTENCE], fields.get("retryable") is True, _retry_after(fields))
        case str(other):
            raise ProtocolError(f"the type {other[:_MAX_NAME]!r} is unknown")
        case _:
            raise ProtocolError('it has no "type"')


def decode_exit(fields: Mapping[str, Any]) -> Failed:
    """How a worker has ended that has not said so, by its machine elsewhere. Raises ProtocolError."""
    code, message = fields.get("code"), _text(fields, "message", "The worker failed.")
    if code not in _EXITS:
        raise ProtocolError(f'"code" of exit must be one of {", ".join(_EXITS)}')
    return Failed(message[:_MAX_SENTENCE], code == "lost", None, code)


def _send(fields: Mapping[str, Any]) -> Send:
    to, kind, body = _name(fields, "to"), fields.get("kind"), fields.get("body")
    if kind not in (("query", "read") if to is not None else (None,)):
        raise ProtocolError('"kind" of send must be query or read; without "to" there is none')
    if not isinstance(body, dict):
        raise ProtocolError('"body" of send must be an object')
    of_body = {**body, "type": "the body of send"}
    content, data = _text(of_body, "content", ""), _data_of(MessageType.TEXT, of_body)
    return Send(to, kind, content, data, _name(fields, "reply_to"))


def _string(fields: Mapping[str, Any], key: str, default: str | None = None) -> str:
    text = fields.get(key, default)
    if not isinstance(text, str):
        raise ProtocolError(f'"{key}" of {fields["type"]} must be a string')
    return text


def _text(fields: Mapping[str, Any], key: str, default: str | None = None) -> str:
    return clean(_string(fields, key, default))


def _name(fields: Mapping[str, Any], key: str) -> str | None:
    name = fields.get(key)
    if name is None:
        return None
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
        raise ProtocolError(f'"{key}" of {fields["type"]} must be a string of 1 to {_MAX_NAME} characters')
    return clean(name)


def _required_name(fields: Mapping[str, Any], key: str) -> str:
    name = _name(fields, key)
    if name is None:
        raise ProtocolError(f'"{key}" of {fields["type"]} is missing')
    return name


def _key(fields: Mapping[str, Any], name: str = "key") -> str:
    """The key of something that is answered by it, so it is taken as it is or not at all."""
    key = _required_name(fields, name)
    if key != fields[name]:
        raise ProtocolError(f'"{name}" of {fields["type"]} has NUL or half of a surrogate pair')
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


def _data_of(type: MessageType, fields: Mapping[str, Any]) -> dict[str, Json]:
    """The data of a message, if it is what one of its type has."""
    data = _data(fields) or {}
    if wrong := mistake(type, data):
        raise ProtocolError(f'"data.{wrong[0]}" of a message of type {type} {wrong[1]}')
    return data


_Data = TypeVar("_Data")


def _bounded(data: _Data) -> _Data:
    """``data``, if every database and client can hold it. Raises ProtocolError."""
    try:
        data = _clean_all(data)
        size = size_of(data)
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
        text = _ASCII_JSON.encode(fields[key])
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f'"{key}" of {fields["type"]} nests too deeply, or has no JSON number') from error
    if len(text) > _MAX_DATA:
        raise ProtocolError(f'"{key}" of {fields["type"]} is larger than {_MAX_DATA} bytes')
    return text


def _messages(fields: Mapping[str, Any]) -> list[CompleteMessage]:
    """The messages of a call, as the API shows them."""
    given = fields.get("messages") or []
    if not isinstance(given, list) or not all(isinstance(message, dict) for message in given):
        raise ProtocolError('"messages" of call must be a list of objects')
    if len(given) > _MAX_MESSAGES:
        raise ProtocolError(f'"messages" of call may have {_MAX_MESSAGES} entries')
    return [_message(message) for message in given]


def _message(message: Mapping[str, Any]) -> CompleteMessage:
    fields = {**message, "type": "a message of call", "message_type": message.get("type")}
    role = _choice(fields, "role", Role.USER)
    _, type, channel, author = _head({**fields, "role": role})
    # It may be one that a conversation has had since before its type had a schema.
    content, data = _text(fields, "content", ""), fitting(type, _data(fields) or {})[0]
    return CompleteMessage(role, type, channel, author, content, data, _files(fields))


def _files(fields: Mapping[str, Any]) -> list[Json]:
    """The ids of files, which may be given as a message of the API names them."""
    given = fields.get("files") or []
    if not isinstance(given, list) or len(given) > _MAX_FILES:
        raise ProtocolError(f'"files" of {fields["type"]} must be a list of at most {_MAX_FILES} ids')
    ids = [str(file.get("id") if isinstance(file, dict) else file).lower() for file in given]
    if not all(_FILE_ID.fullmatch(id) for id in ids):
        raise ProtocolError(f'"files" of {fields["type"]} must be a list of ids')
    return [*dict.fromkeys(ids)]


def _retry_after(fields: Mapping[str, Any]) -> float | None:
    seconds = fields.get("retry_after")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not seconds > 0:
        return None
    return float(min(seconds, _LONGEST_PAUSE))


def _number_of(fields: Mapping[str, Any]) -> int | None:
    number = fields.get("number")
    if number is None:
        return None
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ProtocolError(f'"number" of {fields["type"]} must be a whole number from 1')
    return number


def _options(fields: Mapping[str, Any]) -> list[str]:
    options = fields.get("options") or []
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise ProtocolError('"options" of confirm must be a list of strings')
    if len(options) > _MAX_OPTIONS:
        raise ProtocolError(f'"options" of confirm may have {_MAX_OPTIONS} entries')
    return [clean(option)[:_MAX_SENTENCE] for option in options]


def clean(text: str) -> str:
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
        return clean(value)
    if isinstance(value, list):
        return [_clean_all(inner) for inner in value]
    if isinstance(value, dict):
        return {clean(key): _clean_all(inner) for key, inner in value.items()}
    return value
