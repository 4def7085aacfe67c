# ruff: noqa: E402 - the libraries may be missing
"""serve(): agents of pydantic-ai, the real library with a model that says what it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.support.frameworks import need

need("pydantic_ai")

from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, CallDeferred, ModelRetry, RunContext
from pydantic_ai.messages import ModelMessage, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel

from runtime.sdk import Run, serve
from runtime.sdk.testing import Result, execute

pytestmark = pytest.mark.frameworks


def shown(result: Result) -> list[tuple[str, str, str]]:
    assert result.error is None, result.error
    assert {message.status for message in result.messages} <= {"complete"}
    return [
        (message.role, message.type, message.content or str(message.data.get("result", "")))
        for message in result.messages
    ]


def calling(*calls: tuple[str, str], then: str = "Done.") -> FunctionModel:
    """A model that calls functions, with JSON, and then says something."""

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        if any(isinstance(part, ToolReturnPart) for part in messages[-1].parts):
            for word in then.split(" "):
                yield word + " "
            return
        yield {0: DeltaThinkingPart(content="Functions ")}
        yield {0: DeltaThinkingPart(content="are needed.")}
        yield "Let me "
        yield "see."
        for number, (name, arguments) in enumerate(calls):
            yield {number + 2: DeltaToolCall(name=name, tool_call_id=f"call_{number}")}
            yield {number + 2: DeltaToolCall(json_args=arguments)}

    return FunctionModel(stream_function=answer)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def deleting(calls: int = 1) -> Agent[None, str]:
    paths = [("delete", f'{{"path": "{name}"}}') for name in "ab"[:calls]]
    agent = Agent(calling(*paths))

    @agent.tool_plain(requires_approval=True)
    def delete(path: str) -> str:
        return f"{path} is deleted"

    return agent


def test_text_thoughts_and_calls_of_functions_are_shown() -> None:
    result = execute(serve(Agent(calling(("add", '{"a": 1, "b": 2}')), tools=[add])), "add 1 and 2")
    assert shown(result) == [
        ("assistant", "text", "Functions are needed."),
        ("assistant", "text", "Let me see."),
        ("assistant", "function", '{"a": 1, "b": 2}'),
        ("tool", "function", "3"),
        ("assistant", "text", "Done. "),
    ]
    assert result.messages[0].channel == "reasoning"
    assert result.usage["input_tokens"] > 0
    assert [e["text"] for e in result.events if e["type"] == "delta"][:2] == ["Functions ", "are needed."]


def test_an_agent_is_given_the_conversation_with_its_calls() -> None:
    seen: list[list[str]] = []

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        seen.append([part.part_kind for message in messages for part in message.parts])
        yield "As I said."

    first = execute(serve(Agent(calling(("add", '{"a": 1, "b": 2}')), tools=[add])), "add 1 and 2")
    picture = {"role": "user", "type": "image", "data": {"url": "data:image/png;base64,AQID"}}
    execute(serve(Agent(FunctionModel(stream_function=answer))), ["add", *first.messages, picture, "this?"])
    assert seen == [["user-prompt", "text", "tool-call", "tool-return", "text", "user-prompt"]]


@pytest.mark.parametrize(
    ("answer", "result"), [("approve", "a is deleted"), ("reject", "The tool call was denied.")]
)
def test_a_call_that_needs_an_approval_asks_the_user(answer: str, result: str) -> None:
    waiting = execute(serve(deleting()), "delete it")
    assert waiting.question is not None
    assert waiting.question.prompt == 'Call delete with {"path": "a"}?'
    assert shown(waiting.answer(answer))[2:] == [
        ("assistant", "function", '{"path": "a"}'),
        ("assistant", "confirmation", 'Call delete with {"path": "a"}?'),
        ("tool", "function", result),
        ("assistant", "text", "Done. "),
    ]


def test_several_approvals_are_asked_and_none_is_lost_with_an_attempt() -> None:
    for lines in range(12):
        waiting = execute(serve(deleting(2)), "delete both").answer("approve")
        done = waiting.answer("reject", crash_after=lines)
        while done.status == "queued":
            done = done.resume()
        results = {m.data["call_id"]: m.data["result"] for m in done.messages if m.role == "tool"}
        assert results == {"call_0": "a is deleted", "call_1": "The tool call was denied."}
        assert done.text.endswith("Done. ")


def test_a_call_whose_result_comes_from_outside_asks_the_user_for_it() -> None:
    agent = Agent(calling(("measure", '{"what": "tide"}')), output_type=[str])

    @agent.tool_plain(requires_approval=True)
    def measure(what: str) -> str:
        raise CallDeferred

    waiting = execute(serve(agent), "measure").answer("approve")
    assert waiting.question is not None
    assert waiting.question.prompt == 'What is the result of measure with {"what": "tide"}?'
    assert ("tool", "function", "3 m") in shown(waiting.answer("3 m"))


def test_the_dependencies_of_an_agent_are_the_run() -> None:
    agent = Agent(calling(("look", "{}")), deps_type=Run)

    @agent.tool
    def look(context: RunContext[Run]) -> str:
        context.deps.step("Looking")
        return str(context.deps.config["place"])

    result = execute(serve(agent), "where?", config={"place": "here"})
    assert {"type": "step", "description": "Looking"} in result.events
    assert ("tool", "function", "here") in shown(result)


def test_input_is_a_prompt_or_all_arguments() -> None:
    seen: list[Any] = []

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        seen.append(messages[-1].parts[-1].content)  # type: ignore[union-attr]
        yield "ok"

    agent = Agent(FunctionModel(stream_function=answer), deps_type=int)
    assert execute(serve(agent, input=lambda run: "instead"), "hi").text == "ok"
    given: Callable[[Run], Any] = lambda run: {"user_prompt": "with deps", "deps": 7}  # noqa: E731
    assert execute(serve(agent, input=given), "hi").text == "ok"
    assert seen == ["instead", "with deps"]


class City(BaseModel):
    name: str


def test_an_output_that_is_no_text_is_shown_as_json() -> None:
    agent = Agent(TestModel(custom_output_args={"name": "Kyoto"}), output_type=City)
    assert shown(execute(serve(agent), "which?")) == [("assistant", "text", '{"name": "Kyoto"}')]


def test_a_call_that_has_failed_is_shown_as_failed() -> None:
    agent = Agent(calling(("shaky", "{}")))
    tries = []

    @agent.tool_plain
    def shaky() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ModelRetry("once more")
        return "fine"

    results = [m.data for m in execute(serve(agent), "go").messages if m.role == "tool"]
    assert results[0].get("is_error") is True
    assert "once more" in results[0]["result"]


def test_a_lost_attempt_that_continues_says_nothing_twice() -> None:
    lost = execute(
        serve(Agent(TestModel(custom_output_text="one two three"))), "hi", crash_after=2, resume="continue"
    )
    assert lost.status == "queued"
    assert lost.resume().text == "one two three"


def test_no_function_whose_result_was_kept_is_called_again() -> None:
    called: list[str] = []

    def first(a: int) -> dict[str, int]:
        called.append("call_0")
        return {"a": a}

    def second(b: int) -> City:
        called.append("call_1")
        return City(name=str(b))

    def worker() -> Any:
        calls = ("first", '{"a": 1}'), ("second", '{"b": 2}')
        return serve(Agent(calling(*calls), tools=[first, second]))

    undisturbed = execute(worker(), "go")
    results = {m.data["call_id"]: m.data["result"] for m in undisturbed.messages if m.role == "tool"}
    assert results == {"call_0": {"a": 1}, "call_1": {"name": "2"}}
    between = 0
    for lines in range(len(undisturbed.events) + 3):
        called.clear()
        lost = execute(worker(), "go", crash_after=lines)
        if lost.status != "queued":
            continue
        kept = {key.rpartition(" ")[2] for key in lost.saved if " call " in key}
        before = list(called)
        assert kept <= set(before)
        again = lost.resume()
        assert sorted(shown(again)) == sorted(shown(undisturbed))  # results come as they are there
        assert again.usage["output_tokens"] >= undisturbed.usage["output_tokens"]
        assert sorted(called) == sorted([*before, *({"call_0", "call_1"} - kept)])
        between += len(kept) == 1
    assert between, "one of them was lost between the two results"


def test_a_result_that_is_no_json_reaches_the_model_as_it_is() -> None:
    seen: list[Any] = []

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        if len(messages) > 1:
            seen.extend(messages[-1].parts)
            yield "A dot."
        else:
            yield {0: DeltaToolCall(name="draw", json_args="{}", tool_call_id="call_0")}

    agent = Agent(FunctionModel(stream_function=answer))

    @agent.tool_plain
    def draw() -> BinaryContent:
        return BinaryContent(b"PNG", media_type="image/png")

    assert execute(serve(agent), "draw").text == "A dot."
    assert any(isinstance(getattr(one, "content", None), BinaryContent | list) for one in seen)
