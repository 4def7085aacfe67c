# ruff: noqa: E402 - the libraries may be missing
"""serve(): graphs of LangGraph, the real library with a model that says what it is told."""

from __future__ import annotations

import operator
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

from tests.support.frameworks import need

need("langgraph", "langchain_core")

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.channels import DeltaChannel
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import interrupt
from pydantic import BaseModel

from runtime.sdk import Run, serve
from runtime.sdk.testing import Result, execute
from tests.support.scripted_chat_model import ScriptedChatModel

pytestmark = pytest.mark.frameworks


def calling(name: str, id: str = "call_1", **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args, "id": id, "type": "tool_call"}


def add_then_say(messages: list[BaseMessage]) -> AIMessage:
    """Call a function once, then say what came of it."""
    if messages[-1].type == "tool":
        return AIMessage(f"It is {messages[-1].content} indeed.")
    return AIMessage("Let me see.", tool_calls=[calling("add", a=1, b=2)])


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def delete(path: str) -> str:
    """Delete a file, if the user wants that."""
    if interrupt({"question": f"Delete {path}?", "options": ["yes", "no"]}) == "yes":
        return f"{path} is deleted"
    return "the user refused"


def agent(model: ScriptedChatModel, *tools: Any) -> Any:
    """The loop of a model and its tools."""

    async def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", ask)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile()


def model(answer: Callable[[list[BaseMessage]], AIMessage]) -> ScriptedChatModel:
    return ScriptedChatModel(answer=answer)


def shown(result: Result) -> list[tuple[str, str, str]]:
    """Role, type and what a reader sees of each message."""
    assert result.error is None, result.error
    assert {message.status for message in result.messages} <= {"complete"}
    return [
        (message.role, message.type, message.content or str(message.data.get("result", "")))
        for message in result.messages
    ]


def turn(before: Result, text: str) -> list[Any]:
    """The conversation of the next run on the branch."""
    question = {"role": "user", "content": "add 1 and 2", "id": "u1"}
    return [question, *before.messages, {"role": "user", "content": text, "id": "u2"}]


CALLED = [
    ("assistant", "text", "Let me see."),
    ("assistant", "function", '{"a": 1, "b": 2}'),
    ("tool", "function", "3"),
    ("assistant", "text", "It is 3 indeed."),
]


def test_tokens_and_calls_of_functions_are_streamed() -> None:
    result = execute(serve(agent(model(add_then_say), add)), "add 1 and 2")

    assert shown(result) == CALLED
    assert [event["text"] for event in result.events if event["type"] == "delta"][:3] == [
        "Let ",
        "me ",
        "see.",
    ]
    assert result.usage == {"input_tokens": 20, "output_tokens": 7}


def test_a_lost_attempt_goes_on_with_the_step_that_was_not_complete() -> None:
    lines = 0
    while True:
        asked = model(add_then_say)
        lost = execute(serve(agent(asked, add)), "add 1 and 2", crash_after=lines)
        if lost.status != "queued":
            break
        half_said = len(asked.requests) and f"langgraph {2 * len(asked.requests)}" not in lost.saved
        assert shown(lost.resume()) == CALLED
        assert len(asked.requests) == (3 if half_said else 2)
        lines += 1
    assert lines > 15


def test_a_lost_attempt_that_continues_says_nothing_twice() -> None:
    for lines in range(3, 20):
        lost = execute(serve(agent(model(add_then_say), add)), "add", crash_after=lines, resume="continue")
        if lost.status == "queued":
            assert shown(lost.resume()) == CALLED


def delete_then_say(messages: list[BaseMessage]) -> AIMessage:
    if messages[-1].type == "tool":
        return AIMessage(str(messages[-1].content))
    calls = [calling("delete", "call_1", path="a"), calling("delete", "call_2", path="b")]
    return AIMessage("", tool_calls=calls[: 2 if "both" in str(messages[-1].content) else 1])


@pytest.mark.parametrize(("answer", "said"), [("yes", "a is deleted"), ("no", "the user refused")])
def test_an_interrupt_asks_the_user(answer: str, said: str) -> None:
    asked = model(delete_then_say)
    waiting = execute(serve(agent(asked, delete)), "delete it")

    assert waiting.status == "waiting"
    assert waiting.question is not None
    assert (waiting.question.prompt, waiting.question.options) == ("Delete a?", ["yes", "no"])
    done = waiting.answer(answer)
    assert shown(done) == [
        ("assistant", "function", '{"path": "a"}'),
        ("assistant", "confirmation", "Delete a?"),
        ("tool", "function", said),
        ("assistant", "text", said),
    ]
    assert len(asked.requests) == 2


def test_several_interrupts_are_asked_one_after_the_other() -> None:
    result = execute(serve(agent(model(delete_then_say), delete)), "delete both")
    result = result.answer("yes")
    assert result.question is not None
    assert result.question.prompt == "Delete b?"
    results = [text for role, _, text in shown(result.answer("no")) if role == "tool"]
    assert sorted(results) == ["a is deleted", "the user refused"]


def test_an_answered_question_is_not_lost_with_an_attempt() -> None:
    waiting = execute(serve(agent(model(delete_then_say), delete)), "delete it")
    for lines in range(20):
        done = waiting.answer("yes", crash_after=lines)
        while done.status == "queued":
            done = done.resume()
        assert shown(done)[-1] == ("assistant", "text", "a is deleted")


class Color(BaseModel):
    name: str


def one_node(node: Callable[[MessagesState], dict[str, Any]], **options: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return graph.compile(**options)


def test_an_interrupt_may_want_a_form() -> None:
    def node(state: MessagesState) -> dict[str, Any]:
        color = interrupt("Which color?", response_schema=Color)
        return {"messages": [AIMessage(f"{color.name} it is")]}

    waiting = execute(serve(one_node(node)), "paint")
    assert waiting.question is not None
    assert waiting.question.schema is not None
    assert waiting.question.schema["properties"]["name"]["type"] == "string"
    assert waiting.answer({"name": "red"}).text == "red it is"


def test_calls_that_are_to_be_approved_are_asked_each() -> None:
    def node(state: MessagesState) -> dict[str, Any]:
        actions = [{"name": "send", "args": {"to": name}} for name in ("ada", "bob")]
        answer = interrupt({"action_requests": actions, "review_configs": []})
        return {"messages": [AIMessage(str([one["type"] for one in answer["decisions"]]))]}

    waiting = execute(serve(one_node(node)), "send")
    assert waiting.question is not None
    assert waiting.question.prompt == 'Call send with {"to": "ada"}?'
    assert waiting.question.options == ["approve", "reject"]
    assert waiting.answer("approve").answer("reject").text == "['approve', 'reject']"


def test_a_graph_that_stops_before_a_node_asks_whether_to_go_on() -> None:
    graph = one_node(lambda state: {"messages": [AIMessage("done")]}, interrupt_before=["node"])
    waiting = execute(serve(graph), "go")
    assert waiting.question is not None
    assert waiting.question.prompt == "Continue with node?"
    assert waiting.answer("yes").text == "done"
    assert (waiting.answer("no").status, waiting.answer("no").text) == ("success", "")


class Counting(MessagesState):
    turns: Annotated[int, operator.add]


def counting() -> Any:
    def node(state: Counting) -> dict[str, Any]:
        words = [f"{message.type}: {message.content}" for message in state["messages"]]
        return {"turns": 1, "messages": [AIMessage(f"turn {state['turns'] + 1} after {words[-1]}", id=None)]}

    graph = StateGraph(Counting)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return serve(graph)  # it is compiled by serve


def test_what_a_graph_keeps_follows_the_branch() -> None:
    worker = counting()
    first = execute(worker, [{"role": "user", "content": "add 1 and 2", "id": "u1"}])
    assert first.text == "turn 1 after human: add 1 and 2"

    left = execute(worker, turn(first, "left"), state=first.state)
    right = execute(worker, turn(first, "right"), state=first.state)
    assert (left.text, right.text) == ("turn 2 after human: left", "turn 2 after human: right")

    longer = [*turn(first, "left"), *left.messages, {"role": "user", "content": "on", "id": "u3"}]
    assert execute(worker, longer, state=left.state).text == "turn 3 after human: on"


def joined(before: list[str], writes: list[list[str]]) -> list[str]:
    return [*before, *(word for write in writes for word in write)]


class Words(MessagesState):
    words: Annotated[list[str], DeltaChannel(joined)]


def test_a_channel_that_keeps_only_what_was_written_follows_the_branch() -> None:
    def node(state: Words) -> dict[str, Any]:
        said = str(state["messages"][-1].content)
        return {"words": [said], "messages": [AIMessage(" ".join([*state.get("words", ()), said]))]}

    graph = StateGraph(Words)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    worker = serve(graph)
    state, conversation = None, []
    for word, said in (("one", "one"), ("two", "one two"), ("three", "one two three")):
        conversation.append({"role": "user", "content": word, "id": word})
        result = execute(worker, conversation, state=state)
        assert result.text == said, result.error
        state = result.state
        conversation += result.messages


def test_graphs_of_several_workers_take_turns_on_a_branch(tmp_path: Path) -> None:
    state: Any = {}
    for worker, said in (("one", "turn 1"), ("two", "turn 1"), ("one", "turn 2"), ("two", "turn 2")):
        folder = tmp_path / worker
        folder.mkdir(exist_ok=True)
        (folder / "worker.toml").write_text(
            f'id = "{worker}"\ntype = "python"\nentrypoint_path = "graph.py"\n'
        )
        (folder / "graph.py").write_text(
            "from tests.unit.test_serve_langgraph import counting\n\nrun = counting()\n"
        )
        result = execute(folder, "hi", state=state)
        assert result.text.startswith(said)
        state = result.state


def test_a_graph_is_told_what_others_have_answered_since() -> None:
    asked = model(lambda messages: AIMessage("fine"))
    worker = serve(agent(asked))
    first = execute(worker, [{"role": "user", "content": "add 1 and 2", "id": "u1"}])
    others = [*turn(first, "ask another"), {"role": "assistant", "content": "I am another", "id": "a2"}]
    execute(worker, [*others, {"role": "user", "content": "and you?", "id": "u3"}], state=first.state)
    assert asked.requests[-1] == [
        ("human", "add 1 and 2"), ("ai", "fine"),
        ("human", "ask another"), ("ai", "I am another"), ("human", "and you?"),
    ]  # fmt: skip


def test_a_graph_that_was_cancelled_keeps_what_it_had_before() -> None:
    worker = counting()
    first = execute(worker, "one")
    cancelled = execute(worker, turn(first, "two"), state=first.state, cancel_after=1)
    assert cancelled.status == "cancelled"
    assert cancelled.state == first.state


def test_a_state_that_is_too_large_is_not_kept() -> None:
    worker = serve(one_node(lambda state: {"messages": [AIMessage("long " * 300_000)]}))
    result = execute(worker, "hi", state={"langgraph run": None, "other": 1})
    assert (result.status, result.state) == ("success", {"other": 1})


def test_a_graph_within_a_graph_streams_and_asks() -> None:
    inner = agent(model(delete_then_say), delete)
    graph = StateGraph(MessagesState)
    graph.add_node("inner", inner)
    graph.add_edge(START, "inner")
    graph.add_edge("inner", END)
    waiting = execute(serve(graph.compile()), "delete it")
    assert waiting.question is not None
    assert waiting.question.prompt == "Delete a?"
    assert shown(waiting.answer("yes"))[-2:] == [
        ("tool", "function", "a is deleted"),
        ("assistant", "text", "a is deleted"),
    ]


def test_nodes_that_run_at_the_same_time_write_messages_of_their_own() -> None:
    one, two = model(lambda messages: AIMessage("a b c")), model(lambda messages: AIMessage("x y z"))
    graph = StateGraph(MessagesState)

    async def first(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await one.ainvoke("hi")]}

    async def second(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await two.ainvoke("hi")]}

    graph.add_node("first", first)
    graph.add_node("second", second)
    graph.add_edge(START, "first")
    graph.add_edge(START, "second")
    result = execute(serve(graph), "hi")
    assert sorted(text for _, _, text in shown(result)) == ["a b c", "x y z"]


def test_an_answer_that_a_node_copies_is_shown_once() -> None:
    asked = model(lambda messages: AIMessage("only once"))

    async def node(state: MessagesState) -> dict[str, Any]:
        answer = await asked.ainvoke(state["messages"])
        return {"messages": [AIMessage(answer.content)]}

    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_node("other", lambda state: {"messages": [AIMessage("only once")]})
    graph.add_edge(START, "node")
    graph.add_edge("node", "other")
    assert [text for _, _, text in shown(execute(serve(graph), "hi"))] == ["only once", "only once"]


class Topic(TypedDict):
    topic: str


def test_a_graph_without_messages_is_given_what_input_makes() -> None:
    def node(state: Topic, config: RunnableConfig) -> dict[str, Any]:
        run: Run = config["configurable"]["run"]
        run.delta(f"About {state['topic']}")
        return {}

    graph = StateGraph(Topic)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    with pytest.raises(TypeError, match="the graph's state has no 'messages'; say what it is given"):
        serve(graph)
    worker = serve(graph, input=lambda run: {"topic": run.messages[-1].content})
    assert execute(worker, "tides").text == "About tides"


def test_an_error_of_a_node_fails_the_run() -> None:
    def node(state: MessagesState) -> dict[str, Any]:
        raise ValueError("out of ink")

    result = execute(serve(one_node(node)), "hi")
    assert (result.status, str(result.error)) == ("error", "ValueError: out of ink")
