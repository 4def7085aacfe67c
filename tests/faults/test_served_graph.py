"""A graph loses its pool between two steps, asks its user, and has a state on each branch."""

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
MANIFEST = 'id = "graph"\nname = "Graph"\ntype = "python"\nentrypoint_path = "graph.py"\n'
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


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_database_url: str, stack_redis: RedisServer
) -> Iterator[Stack]:
    need("langgraph")
    workers = tmp_path_factory.mktemp("workers")
    (workers / "graph").mkdir()
    (workers / "graph" / "worker.toml").write_text(MANIFEST)
    (workers / "graph" / "graph.py").write_text(GRAPH)
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
