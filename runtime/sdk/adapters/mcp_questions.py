"""What servers of the Model Context Protocol ask while a tool of theirs is called (elicitation).

It is asked of the run's user, so this process ends. With the answer the worker starts again from
its beginning, calls the tool a second time, and the server asks again and is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

from mcp_types import ElicitResult

from ..errors import Suspended
from ..messages import Json
from ..steps import digest_of
from .rules import at

DECLINE = "decline"
"""The option, and the name in an answer, by which the user does not give what the server asks for."""


class Asker(Protocol):
    """What asks the user: the run."""

    _reached: list[str]

    def _confirm_in_any_order(
        self, prompt: str, options: tuple[str, ...], schema: dict[str, Json] | None, *, id: str
    ) -> Json: ...


class Question(NamedTuple):
    """What a server asks."""

    prompt: str
    options: tuple[str, ...] = ()
    schema: dict[str, Json] | None = None


class Questions:
    """Those of all servers of a run."""

    def __init__(self, run: Asker) -> None:
        self._run = run
        self._asked: asyncio.Future[Suspended] = asyncio.get_running_loop().create_future()
        """Done when this process is to end, for the user is asked."""

    def of(self, server: str) -> Callable[[Any, Any], Awaitable[ElicitResult]]:
        """What the library calls when this server asks."""

        async def answer(context: Any, params: Any) -> ElicitResult:
            return await self._answer(server, params)

        return answer

    async def until_asked(self, request: Awaitable[Any]) -> Any:
        """What a request returns. Raises Suspended where the user is asked meanwhile."""
        task = asyncio.ensure_future(request)
        try:
            await asyncio.wait([task, self._asked], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise self._asked.result()
        finally:
            task.cancel()

    async def _answer(self, server: str, params: Any) -> ElicitResult:
        question = _question(params)
        try:
            answer = self._run._confirm_in_any_order(
                question.prompt, question.options, question.schema, id=self._id(server, question)
            )
        except Suspended as suspended:
            if not self._asked.done():
                self._asked.set_result(suspended)
            await asyncio.Event().wait()  # until its server is ended
            raise
        if answer in (DECLINE, {DECLINE: True}):
            return ElicitResult(action="decline")
        return ElicitResult(action="accept", content=answer if isinstance(answer, dict) else None)

    def _id(self, server: str, question: Question) -> str:
        """The same in each attempt, whatever else is asked at the same time.

        Equal questions are numbered by those that were answered before, also in calls whose results were
        kept, which this process does not make.
        """
        what = f"mcp {server[:100]} {digest_of([question.prompt, question.schema])[:16]} "
        return f"{what}{1 + sum(id.startswith(what) for id in self._run._reached)}"


def _question(params: Any) -> Question:
    """What a server wants to know, as a form; or whether the user has been at an address."""
    schema = at(params, "requested_schema")
    if schema is None:
        return Question(f"{params.message}\n\n{params.url}", ("done", DECLINE))
    return Question(params.message, (), _form(schema))


def _form(schema: dict[str, Json]) -> dict[str, Json]:
    """The schema of an answer: what the server wants, or nothing."""
    decline = {
        "title": "Decline",
        "type": "object",
        "properties": {DECLINE: {"const": True, "title": "Decline"}},
        "required": [DECLINE],
        "additionalProperties": False,
    }
    return {"anyOf": [{"title": "Answer", **schema}, decline]}
