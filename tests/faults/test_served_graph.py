"""Agents of other libraries whose pool is killed: between two steps of a graph, between two functions."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.sse import Received
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.frameworks import need

pytestmark = pytest.mark.frameworks

WITHIN = 60.0
MANIFEST = 'id = "{id}"\nname = "Agent"\ntype = "python"\nentrypoint_path = "worker.py"\n'
GRAPH = """
import operator
import os
import time
from typing import Annotated

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

from runtime.sdk import serve


class State(MessagesState):
    heard: Annotated[list[str], operator.add]


def first(state: State):
    heard = state["messages"][-1].content
    return {"heard": [heard], "messages": [AIMessage(f"first in process {os.getpid()}")]}


def second(state: State, config: RunnableConfig):
    run = config["configurable"]["run"]
    if run.attempt == 1 and state["heard"] == ["one"]:
        run.step("Hanging")
        time.sleep(600)
    return {"messages": [AIMessage(f"{interrupt('Sure?')}: {', '.join(state['heard'])}")]}


graph = StateGraph(State).add_node(first).add_node(second)
serve(graph.add_edge(START, "first").add_edge("first", "second"))
"""

FUNCTIONS = """
import asyncio
import os

first_has_returned = asyncio.Event()


async def first() -> str:
    first_has_returned.set()
    return f"first in process {os.getpid()}"


async def second(run) -> str:
    if run.attempt == 1:
        await first_has_returned.wait()
        await run.once("begun", begun)  # what has been said before is committed before
        run.step("Hanging")
        await asyncio.sleep(600)
    return f"second in process {os.getpid()}"


async def begun() -> bool:
    return True
"""
OPENAI_AGENTS = (
    FUNCTIONS
    + """
from agents import Agent, RunContextWrapper, function_tool, set_tracing_disabled
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call

from runtime.sdk import Run, serve

set_tracing_disabled(True)


@function_tool(name_override="first")
async def one() -> str:
    return await first()


@function_tool(name_override="second")
async def two(context: RunContextWrapper[Run]) -> str:
    return await second(context.context)


def answer(call):
    if any(item.get("type") == "function_call_output" for item in call.input):
        return [assistant_message("Done.")]
    return [function_call("first", {}, call_id="a"), function_call("second", {}, call_id="b")]


serve(Agent(name="Helper", tools=[one, two], model=ScriptedModel([ModelStep.respond(answer)] * 9)))
"""
)
PYDANTIC_AI = (
    FUNCTIONS
    + """
from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import ToolReturnPart
from pydantic_ai.models.function import DeltaToolCall, FunctionModel

from runtime.sdk import Run, serve


async def answer(messages, info):
    if any(isinstance(part, ToolReturnPart) for part in messages[-1].parts):
        yield "Done."
        return
    yield {0: DeltaToolCall(name="first", json_args="{}", tool_call_id="a")}
    yield {1: DeltaToolCall(name="second", json_args="{}", tool_call_id="b")}


agent = Agent(FunctionModel(stream_function=answer), deps_type=Run, tools=[first])


@agent.tool(name="second")
async def two(context: RunContext[Run]) -> str:
    return await second(context.deps)


serve(agent)
"""
)
SOURCES = {"graph": GRAPH, "openai-agents": OPENAI_AGENTS, "pydantic-ai": PYDANTIC_AI}


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_database_url: str, stack_redis: RedisServer
) -> Iterator[Stack]:
    need("langgraph", "agents", "pydantic_ai")
    workers = tmp_path_factory.mktemp("workers")
    for id, source in SOURCES.items():
        (workers / id).mkdir()
        (workers / id / "worker.toml").write_text(MANIFEST.format(id=id))
        (workers / id / "worker.py").write_text(source)
    folder = tmp_path_factory.mktemp("stack")
    with Stack(folder, stack_database_url, stack_redis.url, WORKERS_PATH=str(workers)) as stack:
        yield stack


def until_event(events: Iterator[Received], kind: str) -> Iterator[Received]:
    """The events up to the first of a kind."""
    for event in events:
        yield event
        if event.type == kind:
            return


def answered(client: Client, run: dict[str, Any]) -> dict[str, Any]:
    """The run, once its question is answered and it has ended."""
    until(lambda: client.run(run)["status"] == "waiting", WITHIN, "the question")
    client.post(f"/api/runs/{run['id']}/answer", json={"answer": "Yes"}).raise_for_status()
    ended = client.wait(run, WITHIN)
    assert ended["run"]["status"] == "success", (ended["run"]["error"],)
    return ended


def test_a_graph_goes_on_after_its_pool_was_killed_and_keeps_a_state_on_each_branch(
    stack: Stack, client: Client
) -> None:
    thread = client.thread()
    run = client.ask(thread, "one", worker_id="graph")["runs"][0]
    with client.stream(f"/api/runs/{run['id']}/events") as events:
        before = list(until_event(events, "run.step"))
    (first,) = [event.data["text"] for event in before if event.type == "message.delta"]
    os.kill(stack.pool_process(), signal.SIGKILL)

    done = answered(client, run)
    assert done["run"]["attempt"] > 1
    texts = [message["content"] for message in done["messages"]]
    assert texts == [first, "Sure?", "Yes: one"], "the first node was not executed a second time"

    base = run["output_state_id"]
    for words in ("left", "right"):
        branch = client.ask(thread, words, base, worker_id="graph")["runs"][0]
        assert answered(client, branch)["messages"][-1]["content"] == f"Yes: one, {words}"


@pytest.mark.parametrize("library", [pytest.param("openai-agents", marks=pytest.mark.slow), "pydantic-ai"])
def test_no_function_is_called_again_that_had_returned_when_its_pool_was_killed(
    stack: Stack, client: Client, library: str
) -> None:
    run = client.ask(client.thread(), "go", worker_id=library)["runs"][0]
    with client.stream(f"/api/runs/{run['id']}/events") as events:
        steps = list(until_event(events, "run.step"))
    assert steps[-1].data["description"] == "Hanging"
    os.kill(stack.pool_process(), signal.SIGKILL)

    done = client.wait(run, WITHIN)
    assert done["run"]["status"] == "success", (done["run"]["error"],)
    messages = done["messages"]
    first, second = [message["data"]["result"] for message in messages if message["role"] == "tool"]
    assert first.startswith("first in process ") and second.startswith("second in process ")
    assert first.split()[-1] != second.split()[-1], "the first was called by the attempt that was lost"
    assert messages[-1]["content"] == "Done."
