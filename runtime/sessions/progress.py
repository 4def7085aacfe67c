"""Progress: whether turns still bring something new.

A turn that answers what the one before it has answered brings nothing, nor does one that calls the
same function with the same arguments for the third time in a row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import orjson

from runtime.model import Channel, Json, Message, MessageType, Role

_CALLS = 3
"""So often a call in a row is no progress."""


def after_turn(before: Mapping[str, Json], messages: Iterable[Message]) -> tuple[dict[str, Json], str | None]:
    """What is to be remembered after a turn that has said ``messages``, and why it was no progress."""
    answers, call, count = [], before.get("call"), int(before.get("count") or 0)
    reason = None
    for message in messages:
        if message.type is MessageType.FUNCTION:
            this = _digest([message.data.get("name"), message.data.get("arguments")])
            call, count = this, count + 1 if this == call else 1
            if count >= _CALLS:
                name = str(message.data.get("name") or "a function")
                reason = f"It has called {name} {count} times with the same arguments."
        elif message.role is Role.ASSISTANT and message.channel is Channel.ANSWER:
            answers.append(message.content.strip())
    answer = _digest(answers) if any(answers) else None
    if answer is not None and answer == before.get("answer"):
        reason = reason or "It has answered the same twice."
    return {"answer": answer, "call": call, "count": count}, reason


def _digest(value: object) -> str:
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]
