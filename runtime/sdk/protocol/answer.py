"""The answer of a run as it comes, from the events of its messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .values import Channel, MessageType, Role

_ANSWER = (Role.ASSISTANT, MessageType.TEXT, Channel.ANSWER)


class Answer:
    """Gives out the text of one run's answer, a blank line between its messages."""

    def __init__(self) -> None:
        self._silent: dict[str, bool] = {}
        """Its messages, and whether there is no text of each yet."""
        self._said = False

    def add(self, type: str, fields: Mapping[str, Any]) -> str:
        """What an event adds to it."""
        match type:
            case "message.created" if _is_answer(fields["message"]):
                self._silent[fields["message"]["id"]] = True
            case "message.delta" if fields["message_id"] in self._silent:
                return self._say(fields["message_id"], fields["text"])
            case "message.completed" if self._silent.get(fields["message"]["id"]):
                return self._say(fields["message"]["id"], fields["message"]["content"])
        return ""

    @staticmethod
    def is_void(type: str, fields: Mapping[str, Any]) -> bool:
        """Whether an event takes back what was said: an attempt was lost, and its text with it."""
        return type == "run.retried" and bool(fields.get("discarded"))

    def _say(self, message_id: str, text: str) -> str:
        if not text:
            return ""
        gap = "\n\n" if self._said and self._silent[message_id] else ""
        self._silent[message_id], self._said = False, True
        return gap + text


def _is_answer(message: Mapping[str, Any]) -> bool:
    return (message["role"], message["type"], message["channel"]) == _ANSWER
