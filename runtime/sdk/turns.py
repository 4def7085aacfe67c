"""The conversation as turns: what the APIs of models have in common, whatever their spelling.

They agree that a turn of the assistant has texts and calls of functions, that each call is
followed by its result at once, and that the turns of one role do not follow each other. The
messages of a thread need not: a run that was cancelled leaves a call without a result, calls
that ran at the same time end in any order, and a picture and its question are two messages.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from .messages import Json, Message
from .window import is_call, results_of

if TYPE_CHECKING:
    from .files import File

_NOT_FINISHED = "The call was not finished."
_FAILED = "The call failed."
_ID = re.compile(r"[a-zA-Z0-9_-]{1,40}")
"""An id of a call that every API accepts."""
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME = 64
_SEEN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_PDF = "application/pdf"
_TEXTS = frozenset(
    {"application/json", "application/x-ndjson", "application/yaml", "application/xml", "application/toml"}
)
_MOST_TEXT = 400_000
"""Bytes of a text file that a model is given."""
_PICTURE = re.compile(r"data:(image/(?:png|jpeg|gif|webp));base64,([A-Za-z0-9+/]+=*)")
"""What models see. The browser interface shows AVIF as well, which no API takes."""


class Picture(NamedTuple):
    """A picture within a turn."""

    media_type: str
    base64: str

    @property
    def url(self) -> str:
        """It as a ``data:`` URL."""
        return f"data:{self.media_type};base64,{self.base64}"


class Document(NamedTuple):
    """A PDF within a turn."""

    name: str
    base64: str

    @property
    def url(self) -> str:
        """It as a ``data:`` URL."""
        return f"data:{_PDF};base64,{self.base64}"


Part = str | Picture | Document
"""What a turn is made of, beside calls."""


class Call(NamedTuple):
    """A call of a function, with its result."""

    id: str
    name: str
    arguments: dict[str, Json]
    result: str
    is_error: bool


class Turn:
    """What one role has said before it was another's turn."""

    def __init__(self, role: str) -> None:
        self.role = role
        """system, user or assistant."""
        self.parts: list[Part] = []
        self.calls: list[Call] = []
        """Made after the parts were said."""


def turns(
    messages: Iterable[Message], *, system: str | None = None, tools: bool = True, pictures: bool = True
) -> list[Turn]:
    """The turns of a conversation, without reasoning and without what is empty.

    ``system`` is said first. Without ``tools``, calls and their results are text of the
    assistant; without ``pictures``, only their descriptions are there.
    """
    shown = [message for message in messages if message.channel != "reasoning"]
    if system:
        shown.insert(0, Message({"role": "system", "content": system}))
    return _Turns(shown, tools, pictures).made


class _Turns:
    """The turns that are being made of messages."""

    def __init__(self, messages: Sequence[Message], tools: bool, pictures: bool) -> None:
        self.made: list[Turn] = []
        self._pictures = pictures
        self._closed = False
        """Whether the last turn has the result of a call: what the assistant says then is another."""
        self._ids: set[str] = set()
        results = results_of(messages) if tools else {}
        callers: dict[int, Turn] = {}
        for place, message in enumerate(messages):
            if place in callers:
                self._closed = self._closed or callers[place] is self.made[-1]
            elif tools and is_call(message):
                answer = results.get(place)
                turn = self._add_call(message, None if answer is None else messages[answer])
                if answer is None:
                    self._closed = True
                else:
                    callers[answer] = turn
            else:
                self._add_parts(message)

    def _add_call(self, message: Message, answer: Message | None) -> Turn:
        result, is_error = _result(message if answer is None else answer)
        turn = self._turn("assistant")
        name = function_name(str(message.data.get("name") or "function"))
        call_id = self._unique(message.data.get("call_id"))
        turn.calls.append(Call(call_id, name, _arguments(message), result, is_error))
        return turn

    def _add_parts(self, message: Message) -> None:
        role = "assistant" if message.role == "tool" else message.role
        picture = _picture(message) if self._pictures and role == "user" else None
        parts: list[Part] = [picture] if picture else []
        if role == "user":
            parts += (_of_file(file, self._pictures) for file in message.files)
        text = message.as_text()
        if text.strip():
            parts.append(text)
        if parts:
            self._turn(role).parts += parts

    def _turn(self, role: str) -> Turn:
        if not self.made or self.made[-1].role != role or self._closed:
            self.made.append(Turn(role))
            self._closed = False
        return self.made[-1]

    def _unique(self, call_id: Json) -> str:
        """The id, where no call before has the same and all APIs accept it; otherwise another."""
        text = call_id if isinstance(call_id, str) and _ID.fullmatch(call_id) else "call_1"
        number = 1
        while text in self._ids:
            text, number = f"call_{number}", number + 1
        self._ids.add(text)
        return text


def function_name(name: str) -> str:
    """The name of a function as every API accepts it."""
    return _NOT_IN_NAMES.sub("_", name)[:_LONGEST_NAME]


def _result(message: Message) -> tuple[str, bool]:
    """What a call has resulted in, and whether that is an error."""
    failed = message.data.get("is_error") is True
    if message.role != "tool" and "result" not in message.data:
        return _NOT_FINISHED, True
    result = message.data.get("result", message.content)
    text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    return (text if text.strip() or not failed else _FAILED), failed


def _arguments(message: Message) -> dict[str, Json]:
    """As an object, which all functions have; a model may have written anything, or half of it."""
    arguments = message.data.get("arguments", message.content)
    if isinstance(arguments, str):
        with suppress(ValueError, RecursionError):
            arguments = json.loads(arguments, parse_constant=str)  # NaN is in no JSON
    if isinstance(arguments, dict):
        return arguments
    return {} if arguments in (None, "") else {"arguments": arguments}


def _of_file(file: File, seen: bool) -> Part:
    """A file of the user for a model; ``seen``: whether it takes more than text."""
    if seen and file.type in _SEEN:
        return Picture(file.type, _base64(file))
    if seen and file.type == _PDF:
        return Document(file.name, _base64(file))
    if file.type.startswith("text/") or file.type in _TEXTS:
        text = file.read()[:_MOST_TEXT].decode("utf-8", "replace")
        cut = "\n(The rest of the file is left out.)" if file.size > _MOST_TEXT else ""
        return f"File {file.name}:\n\n{text}{cut}"
    return f"(File {file.name}, {file.type}, {file.size} bytes, which cannot be shown here.)"


def _base64(file: File) -> str:
    return binascii.b2a_base64(file.read(), newline=False).decode()


def _picture(message: Message) -> Picture | None:
    url = message.data.get("url") if message.type == "image" else None
    match = _PICTURE.fullmatch(url) if isinstance(url, str) else None
    return Picture(match[1], match[2]) if match else None
