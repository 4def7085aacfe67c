# ruff: noqa: E402 - the libraries may be missing
"""serve(): what a provider does wrong, through the real libraries of the agents."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.frameworks import need

need("agents", "pydantic_ai", "langchain_openai", "langgraph")

import agents
import langchain_openai
import openai
import pydantic_ai
from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel
from langgraph.graph import START, MessagesState, StateGraph
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from runtime.sdk import serve
from runtime.sdk.testing import Result, execute
from tests.support.fake_model import FakeModel, chunk

pytestmark = pytest.mark.frameworks

BEGUN = [chunk({"role": "assistant", "content": "so "}), chunk({"content": "far"})]
OVERLOADED = b'data: {"error": {"message": "Overloaded", "type": "server_error"}}\n\n'


@pytest.fixture(autouse=True)
def no_traces() -> Iterator[None]:
    agents.set_tracing_disabled(True)
    yield
    agents.set_tracing_disabled(False)


def client(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-test", max_retries=0)


def of_openai_agents(url: str) -> Any:
    return agents.Agent(name="Helper", model=OpenAIChatCompletionsModel("m", client(url)))


def of_pydantic_ai(url: str) -> Any:
    return pydantic_ai.Agent(OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client(url))))


def of_langchain(url: str) -> Any:
    return langchain_openai.ChatOpenAI(base_url=f"{url}/v1", api_key="sk-test", max_retries=0, model="m")  # type: ignore[arg-type]


def of_langgraph(url: str) -> Any:
    model = of_langchain(url)

    async def say(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return StateGraph(MessagesState).add_node(say).add_edge(START, "say")


def of_openai(url: str) -> Any:
    async def answer(run: Any) -> Any:
        return await client(url).chat.completions.create(model="m", messages=run.as_openai(), stream=True)

    return answer


each_library = pytest.mark.parametrize(
    "library", [of_openai_agents, of_pydantic_ai, of_langchain, of_langgraph, of_openai]
)


def tried_again(result: Result) -> str:
    """What went wrong with an attempt that another one follows."""
    assert result.status == "queued", (result.status, result.error)
    return str(result.error)


@each_library
@pytest.mark.parametrize(("status", "retryable"), [(401, False), (400, False), (429, True), (503, True)])
def test_a_status_says_whether_to_try_again(
    model: FakeModel, library: Any, status: int, retryable: bool
) -> None:
    model.fails(status, message="Because.")
    result = execute(serve(library(model.url)), "hi")
    assert result.status == ("queued" if retryable else "error")
    assert "Because." in str(result.error)
    last = execute(serve(library(model.url)), "hi", max_attempts=1)
    assert last.status == "error", "it is tried as often as worker.toml says"


@each_library
def test_a_cut_in_mid_stream_is_tried_again_and_keeps_the_part(model: FakeModel, library: Any) -> None:
    model.promised, model.answer = 1 << 20, lambda: iter(BEGUN)
    tried_again(execute(serve(library(model.url)), "hi"))
    last = execute(serve(library(model.url)), "hi", max_attempts=1)
    assert [(one.content, one.status) for one in last.messages] == [("so far", "partial")]


def test_a_graph_goes_on_with_no_half_answer(model: FakeModel) -> None:
    model.answer = lambda: iter(BEGUN)
    lost = execute(serve(of_langgraph(model.url)), "hi")
    assert "the answer has no end" in tried_again(lost)
    model.answer = lambda: iter([*BEGUN, chunk({}, finish="stop")])
    again = lost.resume()
    assert (again.status, again.text, len(model.requests)) == ("success", "so far", 2), again.error


@each_library
def test_an_error_in_mid_stream_is_tried_again(model: FakeModel, library: Any) -> None:
    model.answer = lambda: iter([*BEGUN, OVERLOADED])
    assert "Overloaded" in tried_again(execute(serve(library(model.url)), "hi"))


@each_library
def test_a_server_that_is_away_is_tried_again(library: Any) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert "could not be reached" in tried_again(execute(serve(library(url)), "hi"))


def test_an_error_of_the_agent_itself_is_not_tried_again() -> None:
    def answer(run: Any) -> Iterator[str]:
        yield "so far"
        raise LookupError("out of ink")

    result = execute(serve(answer), "hi")
    assert (result.status, str(result.error)) == ("error", "LookupError: out of ink")
