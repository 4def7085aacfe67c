"""The messages of the thread, as a worker gets them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Json = Any


class Message:
    """A message of the thread."""

    __slots__ = ("author", "channel", "content", "data", "id", "role", "type")

    def __init__(self, fields: Mapping[str, Json]) -> None:
        self.id: str | None = fields.get("id")
        self.role: str = fields.get("role", "user")
        """system, user, assistant or tool."""
        self.type: str = fields.get("type", "text")
        """text, code, console, image, function or confirmation."""
        self.channel: str = fields.get("channel", "answer")
        """answer, or reasoning: what a model thought before it answered."""
        self.author: str | None = fields.get("author")
        self.content: str = fields.get("content", "")
        self.data: dict[str, Json] = fields.get("data") or {}

    def as_text(self) -> str:
        """The message for a model that reads text only."""
        if self.type == "code":
            return f"```{self.data.get('language', '')}\n{self.content}\n```"
        if self.type == "console":
            return f"```console\n{self.content}\n```"
        if self.type == "function":
            arguments = json.dumps(self.data.get("arguments", self.content), ensure_ascii=False)
            called = f"{self.data.get('name', 'function')}({arguments})"
            return f"{called} = {json.dumps(self.data['result'])}" if "result" in self.data else called
        if self.type == "confirmation" and "answer" in self.data:
            return f"{self.content}\nAnswer: {self.data['answer']}"
        return self.content

    def __repr__(self) -> str:
        return f"Message({self.role}, {self.type}, {self.content[:60]!r})"
