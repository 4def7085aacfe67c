"""Agents of pydantic-ai.

An agent is given the conversation as its history, and the run as its dependencies, if it wants those.
Calls that wait for an approval or for a result are asked of the run's user. Before functions are
called what has led to that is saved, and what each returns is kept: a later attempt goes on there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic_ai import BinaryContent, DeferredToolRequests, DeferredToolResults
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from ..loader import Function
from ..messages import Json
from ..turns import Document, Picture, Turn, turns
from .journal import Journal
from .output import Output
from .pydantic_steps import Steps
from .questions import Question, call_to_approve, result_of_call
from .rules import Rule, plain
from .shapes import PYDANTIC_AI

if TYPE_CHECKING:
    from ..run import Run

_Call = Sequence[str]
"""What is deferred: "approval" or "result", and the id of the call."""


def worker(agent: Any, rules: Sequence[Rule], input: Callable[[Run], Any] | None) -> Function:
    """The worker's function. ``input`` makes the prompt, or the arguments of ``run_stream_events``."""

    async def run(run: Run) -> None:
        with Output(run, rules, PYDANTIC_AI) as output:
            await _execute(agent, run, output, input)

    return run


async def _execute(agent: Any, run: Run, output: Output, input: Callable[[Run], Any] | None) -> None:
    journal = Journal(run, output, "pydantic-ai")
    given: dict[str, Any] = {}
    async for saved, questions in journal.replay():
        given = _resumed(saved, journal.answers(questions))
    steps = Steps(journal)
    steps.know(given.get("message_history", ()))
    fixed = _fixed(agent, run)
    first = _given(run, None if input is None else input(run))
    given = {**first, **given} if given else first
    while True:
        capabilities = [*given.get("capabilities", ()), steps]
        result = await _stream(agent, output, steps, {**fixed, **given, "capabilities": capabilities})
        if not isinstance(result.output, DeferredToolRequests):
            break
        calls, questions = _deferred(result.output)
        saved = {"messages": json.loads(result.all_messages_json()), "calls": calls}
        given = {**given, **_resumed(saved, await journal.ask(saved, questions))}
        steps.know(given["message_history"])
    if not isinstance(result.output, str):
        output.say({"kind": "text", "text": json.dumps(plain(result.output), ensure_ascii=False)})


def _fixed(agent: Any, run: Run) -> dict[str, Any]:
    """What each part of the run is given."""
    from ..run import Run as OurRun

    fixed: dict[str, Any] = {"deps": run} if agent.deps_type is OurRun else {}
    if _asks(agent) and DeferredToolRequests not in _types(agent.output_type):
        fixed["output_type"] = [*_types(agent.output_type), DeferredToolRequests]
    return fixed


def _types(output: Any) -> list[Any]:
    return list(output) if isinstance(output, list | tuple) else [output]


def _asks(agent: Any) -> bool:
    """Whether a function of its own needs an approval."""
    tools = [tool for toolset in agent.toolsets for tool in getattr(toolset, "tools", {}).values()]
    return any(getattr(tool, "requires_approval", False) for tool in tools)


def _given(run: Run, input: Any) -> dict[str, Any]:
    if isinstance(input, Mapping):
        return dict(input)
    said = turns(run.messages)
    prompt = said.pop() if said and said[-1].role == "user" else None
    history = [message for turn in said for message in _messages(turn)]
    return {"user_prompt": input or (_content(prompt) if prompt else None), "message_history": history}


def _messages(turn: Turn) -> list[ModelMessage]:
    """A turn as messages of pydantic-ai: calls and their results are two."""
    if turn.role == "system":
        return [ModelRequest(parts=[SystemPromptPart(part) for part in turn.parts if isinstance(part, str)])]
    if turn.role == "user":
        return [ModelRequest(parts=[UserPromptPart(_content(turn))])]
    texts = [TextPart(part) for part in turn.parts if isinstance(part, str)]
    calls = [ToolCallPart(call.name, call.arguments, call.id) for call in turn.calls]
    messages: list[ModelMessage] = [ModelResponse(parts=[*texts, *calls])]
    if calls:
        messages.append(
            ModelRequest(parts=[ToolReturnPart(call.name, call.result, call.id) for call in turn.calls])
        )
    return messages


def _content(turn: Turn) -> Any:
    parts = [part if isinstance(part, str) else _binary(part) for part in turn.parts]
    return parts[0] if len(parts) == 1 and isinstance(parts[0], str) else parts


def _binary(part: Picture | Document) -> BinaryContent:
    return BinaryContent.from_data_uri(part.url)


async def _stream(agent: Any, output: Output, steps: Steps, given: Mapping[str, Any]) -> Any:
    """The result of a part of the run, whose events are said."""
    result = None
    async with agent.run_stream_events(**given) as events:
        async for event in events:
            if event.event_kind == "agent_run_result":
                result = event.result
            else:
                if event.event_kind == "function_tool_call":
                    _report(output, events.usage)
                    await steps.save(event.part.tool_call_id, events.all_messages())
                output.chunk(event)
    assert result is not None, "the last event is the result"
    _report(output, result.usage)
    return result


def _report(output: Output, usage: Any) -> None:
    """Say what this attempt has used so far."""
    amounts = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_input_tokens": usage.cache_read_tokens,
    }
    used = {name: amount for name, amount in amounts.items() if amount}
    output.say({"kind": "usage", "of": "agent", "amounts": used})


def _deferred(requests: DeferredToolRequests) -> tuple[list[_Call], list[Question]]:
    """The calls that wait, and what the user is asked about them."""
    calls = [("approval", call.tool_call_id) for call in requests.approvals]
    questions = [call_to_approve(call.tool_name, call.args) for call in requests.approvals]
    calls += [("result", call.tool_call_id) for call in requests.calls]
    questions += [result_of_call(call.tool_name, call.args) for call in requests.calls]
    return [list(call) for call in calls], questions


def _resumed(saved: Json, answers: Sequence[Json]) -> dict[str, Any]:
    """What the agent is given with the user's answers."""
    results = DeferredToolResults()
    for (kind, call_id), answer in zip(saved["calls"], answers, strict=True):
        if kind == "approval":
            results.approvals[call_id] = answer == "approve"
        else:
            results.calls[call_id] = answer
    history = ModelMessagesTypeAdapter.validate_python(saved["messages"])
    return {
        "user_prompt": None,
        "message_history": history,
        "deferred_tool_results": results if saved["calls"] else None,
    }
