"""Agents of OpenAI Agents (the library ``agents``).

An agent is given the conversation. Its context is the run, for its tools. What it wants to have approved
is asked of the run's user, and its state is saved meanwhile. What models have answered and what functions
have returned is kept, and a later attempt asks and calls none of them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from agents import ItemHelpers, ModelBehaviorError, RunContextWrapper, Runner, RunState

from ..loader import Function
from ..messages import Json
from .journal import Journal
from .openai_replay import Replay
from .output import Output, no_end
from .questions import call_to_approve
from .rules import Rule, at
from .shapes import OPENAI_AGENTS, OPENAI_RESPONSES

if TYPE_CHECKING:
    from ..run import Run

_MODEL = tuple(rule for rule in OPENAI_RESPONSES if not rule.usage)
"""Of the model's events. What is used the agent adds up itself."""


def worker(agent: Any, rules: Sequence[Rule], input: Callable[[Run], Any] | None) -> Function:
    """The worker's function."""

    async def run(run: Run) -> None:
        with Output(run, rules, OPENAI_AGENTS, _MODEL) as output:
            await _execute(agent, run, output, input)

    return run


async def _execute(agent: Any, run: Run, output: Output, input: Callable[[Run], Any] | None) -> None:
    journal = Journal(run, output, "openai agents")
    replay = Replay(journal)
    agent = replay.agent(agent)
    given: Any = None
    async for saved, questions in journal.replay():
        given = await RunState.from_json(agent, saved["state"], context_override=RunContextWrapper(run))
        _decide(given, journal.answers(questions))
    if given is None:
        given = run.as_openai("responses") if input is None else input(run)
    while True:
        result = Runner.run_streamed(agent, given, context=run, run_config=replay.config)
        await _stream(agent, output, result)
        if not result.interruptions:
            break
        given = result.to_state()
        questions = [call_to_approve(one.name or "a tool", one.arguments) for one in result.interruptions]
        saved = {"state": given.to_json(context_serializer=lambda context: {})}
        _decide(given, await journal.ask(saved, questions))


async def _stream(agent: Any, output: Output, result: Any) -> None:
    before = _used(result)
    streamed = set()
    """The messages that were streamed: a model may give one as a whole only."""
    try:
        async for event in result.stream_events():
            if event.type == "raw_response_event":
                streamed.add(at(event, "data.item_id"))
                output.chunk(event.data)
            elif event.type == "agent_updated_stream_event":
                if event.new_agent is not agent:
                    output.say({"kind": "step", "description": event.new_agent.name})
            elif event.name == "message_output_created" and event.item.raw_item.id not in streamed:
                output.say({"kind": "text", "text": ItemHelpers.text_message_output(event.item)})
            else:
                output.chunk(event)
                if (
                    event.name == "tool_called"
                ):  # a kill while it is executed forgets what was used until then
                    _report(output, result, before)
    except ModelBehaviorError as error:
        if output.lacks_end:
            raise no_end() from error
        raise
    finally:
        _report(output, result, before)


def _decide(state: Any, answers: Sequence[Json]) -> None:
    """Approve and reject what was asked."""
    for item, answer in zip(state.get_interruptions(), answers, strict=True):
        if answer == "approve":
            state.approve(item)
        else:
            state.reject(item)


def _report(output: Output, result: Any, before: dict[str, int]) -> None:
    """Say what this attempt has used: a state that was saved counts what was used ``before``."""
    used = {name: amount - before[name] for name, amount in _used(result).items()}
    amounts = {name: amount for name, amount in used.items() if amount}
    output.say({"kind": "usage", "of": str(id(result)), "amounts": amounts})


def _used(result: Any) -> dict[str, int]:
    usage = result.context_wrapper.usage
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_input_tokens": at(usage, "input_tokens_details.cached_tokens") or 0,
        "reasoning_tokens": at(usage, "output_tokens_details.reasoning_tokens") or 0,
    }
