# ruff: noqa: E402 - the libraries may be missing
"""serve(): agents of OpenAI Agents, the real library with a scripted model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.frameworks import need

need("agents")

from agents import Agent, RunContextWrapper, function_tool, handoff, set_tracing_disabled
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from agents.tool_context import ToolContext

from runtime.sdk import Run, serve
from runtime.sdk.testing import Result, execute

pytestmark = pytest.mark.frameworks


@pytest.fixture(autouse=True)
def no_traces() -> Iterator[None]:
    set_tracing_disabled(True)
    yield
    set_tracing_disabled(False)


@function_tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@function_tool(needs_approval=True)
def delete(path: str) -> str:
    """Delete a file."""
    return f"{path} is deleted"


@function_tool
def look(context: RunContextWrapper[Run]) -> str:
    """Say which run this is."""
    context.context.step("Looking")
    return str(context.context.config["place"])


def shown(result: Result) -> list[tuple[str, str, str]]:
    assert result.error is None, result.error
    assert {message.status for message in result.messages} <= {"complete"}
    return [
        (message.role, message.type, message.content or str(message.data.get("result", "")))
        for message in result.messages
    ]


def agent(*steps: Any, tools: Any = (), **more: Any) -> Agent[Any]:
    return Agent(name="Helper", tools=list(tools), model=ScriptedModel(list(steps)), **more)


def test_text_and_calls_of_functions_are_streamed() -> None:
    calls = [assistant_message("Let me see."), function_call("add", {"a": 1, "b": 2}, call_id="call_1")]
    result = execute(serve(agent(calls, [assistant_message("It is 3.")], tools=[add])), "add 1 and 2")

    assert shown(result) == [
        ("assistant", "text", "Let me see."),
        ("assistant", "function", '{"a":1,"b":2}'),
        ("tool", "function", "3"),
        ("assistant", "text", "It is 3."),
    ]
    assert [m.data["call_id"] for m in result.messages if m.type == "function"] == ["call_1", "call_1"]


def test_an_agent_is_given_the_conversation_with_its_calls() -> None:
    first = execute(
        serve(
            agent(
                [function_call("add", {"a": 1, "b": 2}, call_id="call_1")],
                [assistant_message("3")],
                tools=[add],
            )
        ),
        "add",
    )
    model = ScriptedModel([[assistant_message("As I said.")]])
    execute(serve(Agent(name="Helper", model=model)), ["add", *first.messages, "again?"])
    given = model.calls[0].input
    assert [item.get("type") or item["role"] for item in given] == [
        "user", "function_call", "function_call_output", "assistant", "user",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "result"), [("approve", "a is deleted"), ("reject", "Tool execution was not approved.")]
)
def test_a_call_that_needs_an_approval_asks_the_user(answer: str, result: str) -> None:
    calls = [function_call("delete", {"path": "a"}, call_id="call_1")]
    worker = serve(agent(calls, [assistant_message("Done.")], tools=[delete]))
    waiting = execute(worker, "delete it")

    assert waiting.question is not None
    assert waiting.question.prompt == 'Call delete with {"path":"a"}?'
    assert waiting.question.options == ["approve", "reject"]
    assert shown(waiting.answer(answer)) == [
        ("assistant", "function", '{"path":"a"}'),
        ("assistant", "confirmation", 'Call delete with {"path":"a"}?'),
        ("tool", "function", result),
        ("assistant", "text", "Done."),
    ]


def test_several_approvals_are_asked_one_after_the_other() -> None:
    calls = [
        function_call("delete", {"path": "a"}, call_id="call_1"),
        function_call("delete", {"path": "b"}, call_id="call_2"),
    ]
    waiting = execute(serve(agent(calls, [assistant_message("Done.")], tools=[delete])), "delete both")
    done = waiting.answer("approve").answer("reject")
    results = {m.data["call_id"]: m.data["result"] for m in done.messages if m.role == "tool"}
    assert results == {"call_1": "a is deleted", "call_2": "Tool execution was not approved."}
    assert done.text == "Done."


def test_an_approval_is_not_lost_with_an_attempt() -> None:
    for lines in range(12):
        calls = [function_call("delete", {"path": "a"}, call_id="call_1")]
        steps = [calls, *[[assistant_message("Done.")]] * 2]
        waiting = execute(serve(agent(*steps, tools=[delete])), "delete it")
        done = waiting.answer("approve", crash_after=lines)
        while done.status == "queued":
            done = done.resume()
        assert shown(done)[-2:] == [("tool", "function", "a is deleted"), ("assistant", "text", "Done.")]


def test_another_agent_that_takes_over_is_named() -> None:
    other = agent([assistant_message("I can.")])
    other.name = "Expert"
    first = agent([function_call("transfer_to_expert", {}, call_id="call_1")], handoffs=[other])
    result = execute(serve(first), "help")
    assert {"type": "step", "description": "Expert"} in result.events
    assert shown(result)[-1] == ("assistant", "text", "I can.")
    assert [m.data.get("call_id") for m in result.messages[:2]] == ["call_1", "call_1"]


def test_the_context_of_an_agent_is_the_run() -> None:
    worker = serve(
        agent([function_call("look", {}, call_id="call_1")], [assistant_message("ok")], tools=[look])
    )
    result = execute(worker, "where?", config={"place": "here"})
    assert {"type": "step", "description": "Looking"} in result.events
    assert ("tool", "function", "here") in shown(result)


def test_what_is_used_adds_up_over_questions() -> None:
    from agents import ModelResponse, Usage

    def used(*output: Any) -> ModelResponse:
        usage = Usage(requests=1, input_tokens=10, output_tokens=2, total_tokens=12)
        return ModelResponse(output=list(output), usage=usage, response_id=None)

    calls = used(function_call("delete", {"path": "a"}, call_id="call_1"))
    waiting = execute(serve(agent(calls, used(assistant_message("Done.")), tools=[delete])), "delete it")
    assert waiting.usage == {"input_tokens": 10, "output_tokens": 2}
    assert waiting.answer("approve").usage == {"input_tokens": 20, "output_tokens": 4}


def test_a_failure_of_the_model_fails_the_run() -> None:
    result = execute(serve(agent(RuntimeError("out of ink"))), "hi")
    assert (result.status, str(result.error)) == ("error", "RuntimeError: out of ink")


def test_a_lost_attempt_that_continues_says_nothing_twice() -> None:
    lost = execute(
        serve(agent([assistant_message("one two three")], [assistant_message("one two three")])),
        "hi",
        crash_after=2,
        resume="continue",
    )
    assert lost.status == "queued"
    assert lost.resume().text == "one two three"


def test_no_function_whose_result_was_kept_is_called_again_and_no_model_asked() -> None:
    called: list[str] = []

    @function_tool
    def count(context: ToolContext[Any], a: int) -> int:
        called.append(context.tool_call_id)
        return a

    first = [
        assistant_message("Let me see."),
        function_call("count", {"a": 1}, call_id="call_1"),
        function_call("count", {"a": 2}, call_id="call_2"),
    ]
    last = [assistant_message("They are 1 and 2.")]
    undisturbed = shown(execute(serve(agent(first, last, tools=[count])), "go"))
    between = 0
    for lines in range(20):
        called.clear()
        one = agent(first, last, tools=[count])
        lost = execute(serve(one), "go", crash_after=lines)
        if lost.status != "queued":
            continue
        kept = {key.rpartition(" ")[2] for key in lost.saved if " call " in key}
        before = list(called)
        one.model = ScriptedModel([last] if lost.saved else [first, last])
        assert shown(lost.resume()) == undisturbed
        assert sorted(called) == sorted([*before, *({"call_1", "call_2"} - kept)])
        between += len(kept) == 1
    assert between, "one of them was lost between the two results"


def answering(*answers: list[Any]) -> ScriptedModel:
    """A model that answers by how many results of functions it is given."""

    def answer(call: Any) -> Any:
        results = [item for item in call.input if item.get("type") == "function_call_output"]
        return answers[len(results)]

    return ScriptedModel([ModelStep.respond(answer)] * 9)


def test_a_lost_attempt_goes_on_with_the_agent_that_has_taken_over() -> None:
    call = function_call("add", {"a": 1, "b": 2}, call_id="call_2")
    over = [assistant_message("One moment."), function_call("transfer_to_expert", {}, call_id="call_1")]
    counts = []
    for lines in (1000, *range(24)):
        expert = agent(tools=[add])
        expert.name, expert.model = "Expert", answering([], [call], [assistant_message("It is 3.")])
        first = agent(handoffs=[handoff(expert) if lines % 2 else expert])
        first.model = answering(over)
        result = execute(serve(first), "go", crash_after=lines)
        kept = len([key for key in result.saved if " answer " in key])
        asked = len(first.model.calls) + len(expert.model.calls)
        if result.status == "queued":
            result = result.resume()
        assert [text for _, _, text in shown(result)][-2:] == ["3", "It is 3."]
        assert {"type": "step", "description": "Expert"} in result.events
        if lines < 1000:
            assert len(first.model.calls) + len(expert.model.calls) == asked + 3 - kept or asked == 3
            counts.append(kept)
    assert {0, 1, 2} <= set(counts)
