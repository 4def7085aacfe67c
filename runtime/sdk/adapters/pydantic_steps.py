"""The functions of an agent of pydantic-ai, none of which is called twice.

What each has returned is kept when it returns, once what led to its call is saved: a later attempt
begins with that, and makes the same calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse, ToolCallPart
from pydantic_core import to_jsonable_python

from .journal import Journal


class Steps(AbstractCapability[Any]):
    """Keeps results in the journal. It is given to the agent for a run."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._known: set[str] = set()
        """The ids of calls to which what was saved leads."""
        self._changed = asyncio.Event()

    def know(self, messages: Iterable[ModelMessage]) -> None:
        """What leads to the calls of the last answer among ``messages`` is saved."""
        last = next((one for one in reversed(list(messages)) if isinstance(one, ModelResponse)), None)
        self._known = (
            {part.tool_call_id for part in last.parts if isinstance(part, ToolCallPart)} if last else set()
        )
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def save(self, call_id: str, messages: Sequence[ModelMessage]) -> None:
        """Save what leads to a call that is about to be made, with those beside it."""
        if call_id not in self._known:
            saved = ModelMessagesTypeAdapter.dump_python(list(messages), mode="json")
            await self._journal.save({"messages": saved, "calls": []})
            self.know(messages)

    async def wrap_tool_execute(self, ctx: Any, *, call: Any, tool_def: Any, args: Any, handler: Any) -> Any:
        """See the base class."""
        while call.tool_call_id not in self._known:
            await self._changed.wait()

        async def made() -> Any:
            result = await handler(args)
            return _as_json(result)

        return await self._journal.value(f"call {call.tool_call_id}"[:150], made)


def _as_json(result: Any) -> Any:
    """A result as JSON, as its model is given it; pictures and the like are given as they are."""
    parts = result if isinstance(result, list | tuple) else [result]
    if any(type(one).__module__.startswith("pydantic_ai") or isinstance(one, bytes) for one in parts):
        return result
    try:
        return to_jsonable_python(result)
    except ValueError:
        return result
