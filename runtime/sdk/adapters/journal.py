"""What an agent saves while it runs, to go on from there in a later attempt."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import Failure
from ..messages import Json
from .output import Output
from .questions import Question

if TYPE_CHECKING:
    from ..run import Run


class _NotSaved(Exception):
    """No attempt has saved this value."""


class Journal:
    """Where an agent was: entries that are saved once in a run, whatever becomes of its attempts.

    An entry has what was said since the one before, what the agent needs to go on, and what
    it asks its user next. Between two entries values are kept: what a model has answered, what a
    function has returned.
    """

    def __init__(self, run: Run, output: Output, name: str) -> None:
        """``name``: what the keys of the entries begin with."""
        self._run = run
        self._output = output
        self._name = name
        self._next = 1
        self._full = False
        """Whether there is no room for more."""

    async def replay(self) -> AsyncIterator[tuple[Json, list[Question]]]:
        """What earlier attempts have saved, one after the other: after it was said again, what the agent
        needs, and what it asks. From the end on, what is said is noted.

        A worker that goes on with the text of a lost attempt begins anew instead: an agent says all
        of it again, as it was saved or as its model says it now.
        """
        self._run.discard()
        while (entry := await self._saved(self._key)) is not None:
            for meaning in entry["said"]:
                if meaning["kind"] != "usage":  # the attempt that used it has reported it
                    self._output.say(meaning)
            self._next += 1
            yield entry["agent"], [Question(*one) for one in entry["asked"]]
        self._output.said = []

    async def save(self, agent: Json) -> None:
        """Save where the agent is, if there is room; else a later attempt goes on from an earlier entry."""
        if not self._full:
            try:
                await self._add(agent, ())
            except (ValueError, Failure) as error:
                self._is_full(error)

    async def value(self, key: str, make: Callable[[], Awaitable[Any]]) -> Any:
        """What was kept under the ``key`` since the last entry; otherwise what is made, which is kept.

        Unlike the function of a durable step, ``make`` may speak and call: what it says in an
        attempt that is lost is void with that. What is no JSON is given as it is, and not kept.
        """
        found = await self.kept(key)
        if found is not None:
            return found[0]
        value = await make()
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            return value
        await self.keep(key, value)
        return value

    async def kept(self, key: str) -> list[Json] | None:
        """The one value that an attempt has kept under the ``key`` since the last entry; None: none has."""
        found: list[Json] | None = await self._saved(f"{self._key} {key}")
        return found

    async def keep(self, key: str, value: Json) -> None:
        """Keep a value, if there is room for it and for all before."""
        if self._full:
            return

        async def kept() -> Json:
            return [value]

        try:
            await self._run.once(f"{self._key} {key}", kept)
        except (ValueError, Failure) as error:
            self._is_full(error)

    async def ask(self, agent: Json, questions: Sequence[Question]) -> list[Json]:
        """Save where the agent is, and ask the user. Raises Failure where there is no room."""
        if self._full:
            raise Failure("The agent cannot wait for an answer: it has saved too much.")
        try:
            await self._add(agent, questions)
        except ValueError as error:
            raise Failure(f"The agent cannot wait for an answer: {error}") from error
        return self.answers(questions)

    def answers(self, questions: Iterable[Question]) -> list[Json]:
        """The user's answers. The process ends at the first that is not answered yet."""
        return [question.ask(self._run) for question in questions]

    async def _add(self, agent: Json, questions: Sequence[Question]) -> None:
        entry = {"said": self._output.said, "agent": agent, "asked": [list(one) for one in questions]}
        self._output.said = []

        async def value() -> Json:
            return entry

        await self._run.once(self._key, value)
        self._next += 1

    def _is_full(self, error: Exception) -> None:
        self._full = True
        self._run.log(f"A later attempt begins with an earlier step: {error}", level="warning")

    async def _saved(self, key: str) -> Any:
        try:
            return await self._run.once(key, _not_saved)
        except _NotSaved:
            return None

    @property
    def _key(self) -> str:
        return f"{self._name} {self._next}"


async def _not_saved() -> Json:
    raise _NotSaved
