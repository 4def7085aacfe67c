"""The messages of the thread, as a worker gets them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .files import File

Json = Any


class Message:
    """A message of the thread."""

    __slots__ = ("_files", "_opened", "author", "channel", "content", "data", "id", "role", "type")

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
        self._files: list[dict[str, Json]] = fields.get("files") or []
        self._opened: list[File] | None = None

    @property
    def files(self) -> list[File]:
        """The files that it names, each to be read with ``read()``, ``open()`` or by its ``path``."""
        if self._opened is None:
            if self._files:
                from .files import File

                self._opened = [File(fields) for fields in self._files]
            else:
                self._opened = []
        return self._opened

    def as_text(self) -> str:
        """The message for a model that reads text only."""
        if self._files and self.role != "user":
            names = ", ".join(str(file.get("name")) for file in self._files)
            return f"{self.content}\n(Made: {names})".strip()
        if self.type == "code":
            return f"```{self.data.get('language', '')}\n{self.content}\n```"
        if self.type == "console":
            return f"```console\n{self.content}\n```"
        if self.type == "function":
            return self._function_as_text()
        if self.type == "confirmation" and "answer" in self.data:
            return f"{self.content}\nAnswer: {self.data['answer']}"
        return self.content

    def _function_as_text(self) -> str:
        called = str(self.data.get("name") or "function")
        is_result = self.role == "tool"
        if "arguments" in self.data or not is_result:
            arguments = self.data.get("arguments", self.content)
            called += f"({arguments if isinstance(arguments, str) else _json(arguments)})"
        if "result" not in self.data and not is_result:
            return called
        verb = "failed:" if self.data.get("is_error") is True else "="
        result = _json(self.data["result"]) if "result" in self.data else self.content
        return f"{called} {verb} {result}"

    def __repr__(self) -> str:
        return f"Message({self.role}, {self.type}, {self.content[:60]!r})"


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)
