"""A call of a function in the conversation: what it was called with, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .errors import Cancelled, Failure, Suspended
from .messages import Json
from .steps import MAX_VALUE

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Protocol, Self

    class Message(Protocol):
        """A message that is open."""

        def delta(self, text: str) -> None: ...
        def end(self) -> None: ...

    class Conversation(Protocol):
        """What a call is written to: the run."""

        def start(self, *, type: str, data: Mapping[str, Json]) -> Message: ...
        def message(self, content: str, *, role: str, type: str, data: Mapping[str, Json]) -> None: ...


_MAX_RESULT = MAX_VALUE - (1 << 14)
"""Bytes of JSON that have a place in a message's data, with what else is in it."""
_STOPPED = ("Cancelled", "CancelledError", "GeneratorExit")
"""Exceptions that say nothing about the function."""


class ToolCall:
    """A call that is being made. See :meth:`runtime.sdk.run.Run.tool`."""

    def __init__(self, run: Conversation, name: str, arguments: Json, call_id: str) -> None:
        """``arguments``: None where they will be streamed."""
        self.name = name
        self.id = call_id
        """What belongs to the call in the model's words, its ``call_id``."""
        self._run = run
        self._arguments = arguments
        self._message: Message | None = None
        self._has_result = False

    def arguments(self, text: str) -> None:
        """Append to the arguments: JSON, as a model writes it piece by piece."""
        if self._message is None:
            raise RuntimeError('a call begins with "with run.tool(…) as tool"')
        self._message.delta(text)

    def called(self) -> None:
        """Say that the arguments are complete; the result follows, or is nothing that this worker knows."""
        if self._message is not None:
            self._message.end()

    def result(self, value: Json, *, is_error: bool = False) -> None:
        """Say what the function has returned: JSON, or text; ``is_error``: why it failed."""
        if self._has_result:
            raise RuntimeError(f"the call of {self.name!r} has its result already")
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        data: dict[str, Json] = {"call_id": self.id, "name": self.name}
        if is_error:
            data["is_error"] = True
        content = ""
        if len(text.encode("utf-8", "surrogatepass")) <= _MAX_RESULT:
            data["result"] = value
        else:
            content = value if isinstance(value, str) else text
        if self._message is not None:
            self._message.end()
        self._has_result = True  # before it is written: a cancel that comes meanwhile adds no second one
        self._run.message(content, role="tool", type="function", data=data)

    def __enter__(self) -> Self:
        data = {"name": self.name, "call_id": self.id}
        if self._arguments is not None:
            data["arguments"] = self._arguments
        try:
            self._message = self._run.start(type="function", data=data)
        except Cancelled as cancelled:  # it came while the beginning was written, which is complete then
            self._end(cancelled)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        """See that there is a result. None where a question ends the process: the call goes on later."""
        if self._has_result or isinstance(error, Suspended):
            return
        if error is None:
            self.result(None)
        else:
            self.result(_reason(error), is_error=True)


def _reason(error: BaseException) -> str:
    """What the model and the user are told of an exception."""
    kind: Any = type(error).__name__
    if kind in _STOPPED:
        return "Cancelled."
    text = str(error)
    if isinstance(error, Failure) and text:
        return text
    return f"{kind}: {text}" if text else kind
