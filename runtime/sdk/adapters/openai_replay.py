"""Agents of OpenAI Agents that do nothing twice.

A copy of an agent, for one attempt: what its model has answered is kept before the functions are
called, and what each function has returned when it returns. A later attempt is executed
again from the last question, or from the beginning, with what was kept in place of the models and
functions; so it comes to where the lost one was, through handoffs too.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from typing import Any

from agents import (
    Agent,
    FunctionTool,
    Handoff,
    Model,
    ModelProvider,
    OpenAIChatCompletionsModel,
    RunConfig,
)
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseOutputItemDoneEvent,
    ResponseReasoningSummaryTextDeltaEvent,
    ResponseReasoningTextDeltaEvent,
    ResponseRefusalDeltaEvent,
    ResponseTextDeltaEvent,
)

from ..messages import Json
from ..model_errors import ended_early
from .journal import Journal

_LAST = ("message", "reasoning")
"""Kinds of output after which nothing is called."""


class Replay(ModelProvider):
    """Makes the copies of one attempt, and has the models of those agents that only name theirs."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._answers = 0
        self._copies: dict[int, tuple[Any, Any]] = {}
        """Of agents, by the id of the original, with that."""
        self._models = RunConfig().model_provider
        self.config = RunConfig(model_provider=self)
        """What the copies are run with."""

    def agent(self, agent: Any) -> Any:
        """The copy of an agent, and of those that it may hand over to."""
        if id(agent) not in self._copies:
            made = copy.copy(agent)
            self._copies[id(agent)] = agent, made
            tools = made.get_all_tools

            async def get_all_tools(context: Any) -> list[Any]:
                return [self._tool(tool) for tool in await tools(context)]

            made.get_all_tools = get_all_tools
            if isinstance(agent.model, Model):
                made.model = self._model(agent.model)
            made.handoffs = [self._handoff(one) for one in agent.handoffs]
        return self._copies[id(agent)][1]

    def get_model(self, model_name: str | None) -> Any:
        """See the base class."""
        return self._model(self._models.get_model(model_name))

    def _handoff(self, handoff: Any) -> Any:
        if isinstance(handoff, Agent):
            return self.agent(handoff)
        if not isinstance(handoff, Handoff):
            return handoff
        made = copy.copy(handoff)
        invoke = handoff.on_invoke_handoff

        async def on_invoke(context: Any, arguments: str) -> Any:
            return self.agent(await invoke(context, arguments))

        made.on_invoke_handoff = on_invoke
        return made

    def _tool(self, tool: Any) -> Any:
        if not isinstance(tool, FunctionTool):
            return tool
        made = copy.copy(tool)
        invoke = tool.on_invoke_tool

        async def on_invoke(context: Any, arguments: str) -> Any:
            key = f"call {self._answers} {context.tool_call_id}"
            return await self._journal.value(key[:150], lambda: invoke(context, arguments))

        made.on_invoke_tool = on_invoke
        return made

    def _model(self, model: Any) -> Any:
        made = copy.copy(model)
        stream = _to_the_end(model).stream_response

        async def stream_response(*arguments: Any, **named: Any) -> AsyncIterator[Any]:
            self._answers += 1
            key = f"answer {self._answers}"
            found = await self._journal.kept(key)
            events = stream(*arguments, **named) if found is None else _events_of(found[0])
            async for event in events:
                if found is None and event.type == "response.completed":
                    await self._keep(key, event.response)
                yield event

        made.stream_response = stream_response
        return made

    async def _keep(self, key: str, response: Any) -> None:
        """Keep an answer, unless it is the last one."""
        if any(item.type not in _LAST for item in response.output):
            await self._journal.keep(key, response.model_dump(mode="json", exclude={"usage"}, warnings=False))


def _to_the_end(model: Any) -> Any:
    """A model of chat completions that takes no stream for an answer that has no end.

    The library asks that of OpenAI's own server only, since others may say no reason at the end. Those
    that are known do.
    """
    if not isinstance(model, OpenAIChatCompletionsModel):
        return model
    made: Any = copy.copy(model)
    fetch = model._fetch_response

    async def fetch_response(*arguments: Any, **named: Any) -> Any:
        fetched = await fetch(*arguments, **named)
        return (fetched[0], _Chunks(fetched[1])) if isinstance(fetched, tuple) else fetched

    made._fetch_response = fetch_response
    return made


class _Chunks:
    """The stream of an answer, which raises Failure where it ends before a ``finish_reason``."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[Any]:
        finished = False
        async for chunk in self._stream:
            finished = finished or any(choice.finish_reason for choice in chunk.choices or ())
            yield chunk
        if not finished:
            raise ended_early(self._stream, self._stream.response.url.host)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


async def _events_of(kept: Json) -> AsyncIterator[Any]:
    """The stream of an answer that was kept, each piece as a whole."""
    response = Response.model_validate(kept)
    for place, item in enumerate(response.output):
        for event in _pieces(item, place):
            yield event
        yield ResponseOutputItemDoneEvent(
            type="response.output_item.done", item=item, output_index=place, sequence_number=0
        )
    yield ResponseCompletedEvent(type="response.completed", response=response, sequence_number=0)


def _pieces(item: Any, place: int) -> list[Any]:
    """What a message or a thought says."""
    of: dict[str, Any] = {
        "item_id": getattr(item, "id", None) or "",
        "output_index": place,
        "sequence_number": 0,
    }
    if item.type == "reasoning":
        summary = [_summary(of, index, part.text) for index, part in enumerate(item.summary)]
        return summary + [_thought(of, index, part.text) for index, part in enumerate(item.content or ())]
    if item.type == "message":
        return [_text(of, index, part) for index, part in enumerate(item.content)]
    return []


def _summary(of: dict[str, Any], index: int, text: str) -> Any:
    return ResponseReasoningSummaryTextDeltaEvent(
        type="response.reasoning_summary_text.delta", summary_index=index, delta=text, **of
    )


def _thought(of: dict[str, Any], index: int, text: str) -> Any:
    return ResponseReasoningTextDeltaEvent(
        type="response.reasoning_text.delta", content_index=index, delta=text, **of
    )


def _text(of: dict[str, Any], index: int, part: Any) -> Any:
    if part.type == "refusal":
        return ResponseRefusalDeltaEvent(
            type="response.refusal.delta", content_index=index, delta=part.refusal, **of
        )
    return ResponseTextDeltaEvent(
        type="response.output_text.delta", content_index=index, delta=part.text, logprobs=[], **of
    )
