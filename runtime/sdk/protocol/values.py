"""The values of the fields that a message has, and what all data in JSON is held to."""

from __future__ import annotations

from enum import StrEnum

from ..messages import Json

MAX_LEVELS = 56
"""Levels of arrays and objects in a config, data, metadata or arguments.

An export has a few more around it, and is still a body that can be sent.
"""


def nests_too_deeply(value: Json) -> bool:
    """Whether ``value`` has more than MAX_LEVELS levels of arrays and objects."""
    level = [value]
    for _ in range(MAX_LEVELS + 1):
        containers = [item for item in level if isinstance(item, list | dict)]
        if not containers:
            return False
        level = [
            inner for item in containers for inner in (item if isinstance(item, list) else item.values())
        ]
    return True


class Role(StrEnum):
    """The author's role, as chat models define it."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class MessageType(StrEnum):
    """What ``content`` and ``data`` hold."""

    TEXT = "text"
    """Markdown."""
    CODE = "code"
    """Source text; ``data.language`` may name the language."""
    CONSOLE = "console"
    """What a terminal would show."""
    IMAGE = "image"
    """``data.url`` is the picture as a data: URL (png, jpeg, gif, webp, avif; base64);
    ``content`` is the alternative text."""
    FUNCTION = "function"
    """A call or its result: ``data`` has name, call id, arguments, result."""
    CONFIRMATION = "confirmation"
    """A question of the worker: ``data`` has options and, later, the answer."""

    @classmethod
    def _missing_(cls, value: object) -> MessageType | None:
        # What GuiAgentLoopCore and Open Interpreter call a text.
        return cls.TEXT if str(value).lower() == "message" else None


class Channel(StrEnum):
    """Whether a message is meant for the reader or is the model's thinking."""

    ANSWER = "answer"
    REASONING = "reasoning"
