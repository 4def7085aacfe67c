"""The messages of a thread, on one path or on all, as Markdown for people to read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import orjson

from runtime.model import Channel, Message, MessageStatus, MessageType


def render(title: str | None, messages: Sequence[Message]) -> str:
    """A document of these messages, oldest first."""
    return "\n\n".join([_heading(title), *map(_message, messages)]) + "\n"


def render_tree(
    title: str | None, parents: Mapping[str, str | None], messages: Mapping[str, Sequence[Message]]
) -> str:
    """A document of a whole tree: a section for each branch, from where it forks off to its next fork.

    ``parents``: by state, siblings in their order. ``messages``: those of each state.
    """
    children: dict[str | None, list[str]] = {}
    for state_id, parent_id in parents.items():
        children.setdefault(parent_id, []).append(state_id)
    parts = [_heading(title)]
    todo = [(state_id, 0) for state_id in reversed(children.get(None, []))]
    number = 0
    while todo:
        state_id, before = todo.pop()
        number += 1
        parts.append(f"## Branch {number}")
        if before:
            parts.append(f"*goes on from branch {before}*")
        parts += (_message(message, "###") for message in messages.get(state_id, ()))
        while len(below := children.get(state_id, [])) == 1:
            (state_id,) = below
            parts += (_message(message, "###") for message in messages.get(state_id, ()))
        todo += ((child, number) for child in reversed(below))
    return "\n\n".join(parts) + "\n"


def _heading(title: str | None) -> str:
    return f"# {title or 'Untitled'}"


def _message(message: Message, level: str = "##") -> str:
    who = f"{message.author} ({message.role})" if message.author else str(message.role)
    aside = ", reasoning" if message.channel is Channel.REASONING else ""
    named = [f"*(file)* {file['name']}" for file in message.files or ()]
    cut_off = ["*(cut off)*"] if message.status is MessageStatus.PARTIAL else []
    return "\n\n".join([f"{level} {who}{aside}", _body(message), *named, *cut_off])


def _body(message: Message) -> str:
    match message.type:
        case MessageType.CODE:
            return _fenced(message.content, str(message.data.get("language") or ""))
        case MessageType.CONSOLE:
            return _fenced(message.content, "console")
        case MessageType.FUNCTION:
            fields = orjson.dumps(dict(message.data), option=orjson.OPT_INDENT_2).decode()
            return "\n\n".join([*([message.content] if message.content else []), _fenced(fields, "json")])
        case MessageType.IMAGE:
            return f"*(image)* {message.content}".rstrip()
        case MessageType.CONFIRMATION:
            answer = message.data.get("answer")
            return message.content if answer is None else f"{message.content}\n\n> {answer}"
        case _:
            return "\n\n".join(filter(None, [message.content, _sources(message.data.get("sources"))]))


def _sources(listed: object) -> str:
    """The passages that an answer cites by number, as agents name them in its data."""
    lines = []
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, Mapping) and isinstance(one.get("document"), str):
            titles = one.get("titles")
            place = [one["document"], *(titles if isinstance(titles, list) else ())]
            lines.append(f"- [{one.get('number')}] {' › '.join(map(str, place))}")
    return "\n".join(lines)


def _fenced(text: str, language: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language.splitlines()[0] if language else ''}\n{text}\n{fence}"
