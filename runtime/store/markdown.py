"""What was said on one path of a thread, as Markdown for people to read."""

from __future__ import annotations

import re
from collections.abc import Sequence

import orjson

from runtime.model import Channel, Message, MessageStatus, MessageType


def render(title: str | None, said: Sequence[Message]) -> str:
    """A document of these messages, oldest first."""
    return "\n\n".join([f"# {title or 'Untitled'}", *map(_message, said)]) + "\n"


def _message(message: Message) -> str:
    who = f"{message.author} ({message.role})" if message.author else str(message.role)
    aside = ", reasoning" if message.channel is Channel.REASONING else ""
    cut_off = ["*(cut off)*"] if message.status is MessageStatus.PARTIAL else []
    return "\n\n".join([f"## {who}{aside}", _body(message), *cut_off])


def _body(message: Message) -> str:
    match message.type:
        case MessageType.CODE:
            return _fenced(message.content, str(message.data.get("language") or ""))
        case MessageType.CONSOLE:
            return _fenced(message.content, "console")
        case MessageType.FUNCTION:
            told = orjson.dumps(dict(message.data), option=orjson.OPT_INDENT_2).decode()
            return "\n\n".join([*([message.content] if message.content else []), _fenced(told, "json")])
        case MessageType.IMAGE:
            return f"*(image)* {message.content}".rstrip()
        case MessageType.CONFIRMATION:
            answer = message.data.get("answer")
            return message.content if answer is None else f"{message.content}\n\n> {answer}"
        case MessageType.TEXT:
            return message.content


def _fenced(text: str, language: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language.splitlines()[0] if language else ''}\n{text}\n{fence}"
