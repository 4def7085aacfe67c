"""The examples of docs/how-to/bring-an-agent.md, word for word: real libraries and processes, fake models."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from runtime.child import Children, protocol
from runtime.registry import load
from runtime.sdk.testing import execute
from runtime.settings import CHECKOUT, Settings
from tests.support.frameworks import need

PAGE = (CHECKOUT / "docs/how-to/bring-an-agent.md").read_text()
MANIFEST = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0]
WITHIN = 60.0
MOST_LINES = 5
"""Of glue around an agent that is there."""


def example(title: str) -> str:
    """The first Python of a section of the page."""
    section = PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]


SCRIPTED = textwrap.dedent("""
    from langchain_core.messages import AIMessage
    from tests.support.scripted_chat_model import ScriptedChatModel

    model = ScriptedChatModel(answer=lambda messages: AIMessage("Hello there"))
""")
AGENTS = {
    "LangGraph": SCRIPTED
    + textwrap.dedent("""
        from langgraph.graph import START, MessagesState, StateGraph

        def answer(state):
            return {"messages": [model.invoke(state["messages"])]}

        graph = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").compile()
    """),
    "LangChain": SCRIPTED + "chain = model\n",
    "OpenAI Agents": """
from agents import Agent, set_tracing_disabled
from agents.testing import ScriptedModel, assistant_message

set_tracing_disabled(True)
agent = Agent(name="Helper", model=ScriptedModel([[assistant_message("Hello there")]]))
""",
    "pydantic-ai": """
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

agent = Agent(TestModel(custom_output_text="Hello there"))
""",
}
LIBRARIES = {
    "LangGraph": "langgraph",
    "LangChain": "langchain_core",
    "OpenAI Agents": "agents",
    "pydantic-ai": "pydantic_ai",
}

Say = Callable[[str, str], list[protocol.WorkerEvent]]


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", server)
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))


@pytest.fixture
def say(environ: None, settings: Settings, tmp_path: Path) -> Iterator[Say]:
    """What the worker of a page's example says, in a process of its own."""
    children = Children(settings)
    folder = tmp_path / "worker"
    folder.mkdir()

    def say(glue: str, agent: str) -> list[protocol.WorkerEvent]:
        (folder / "worker.toml").write_text(
            MANIFEST.replace('"OPENAI_API_KEY"', '"OPENAI_API_KEY", "OPENAI_BASE_URL"')
        )
        (folder / "my_worker.py").write_text(glue)
        (folder / "my_agent.py").write_text(agent)
        child = children.start(load(folder), run_id="r", environ={})
        message = {"role": "user", "type": "text", "content": "Hello"}
        child.send(
            json.dumps({"type": "run", "protocol": 1, "run": {"id": "r"}, "messages": [message]}).encode()
        )
        decoder, said = protocol.Decoder(), []
        while chunk := child.read():
            for event in decoder.feed(chunk):
                said.append(event)
                if isinstance(event, protocol.Save):
                    child.send(json.dumps({"type": "saved", "key": event.key}).encode() + b"\n")
        said += decoder.end()
        assert child.wait(WITHIN) == 0, child.read_log()
        child.close()
        return said

    yield say
    children.close()


@pytest.fixture
def server() -> Iterator[str]:
    """OpenAI's chat completions: the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for text, finish in (("Hello ", None), ("there", None), ("", "stop")):
                choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
                data = {
                    "id": "c",
                    "object": "chat.completion.chunk",
                    "created": 1,
                    "model": "m",
                    "choices": [choice],
                }
                self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def text(said: list[protocol.WorkerEvent]) -> str:
    return "".join(one.text for one in said if isinstance(one, protocol.Delta))


@pytest.mark.frameworks
@pytest.mark.parametrize("title", AGENTS)
def test_the_example_of_a_library_is_a_worker(title: str, say: Say) -> None:
    need(LIBRARIES[title])
    said = say(example(title), AGENTS[title])
    assert text(said) == "Hello there"
    assert said[-1] == protocol.Done()


def test_the_example_of_a_models_library_is_a_worker(say: Say) -> None:
    said = say(example("A model's library"), "")
    assert (text(said), said[-1]) == ("Hello there", protocol.Done())


@pytest.mark.frameworks
def test_the_example_of_a_test_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("agents")
    (tmp_path / "my_worker.py").write_text(example("OpenAI Agents"))
    (tmp_path / "my_agent.py").write_text("""
from agents import Agent, function_tool, set_tracing_disabled
from agents.testing import ScriptedModel, assistant_message, function_call

@function_tool(needs_approval=True)
def delete(path: str) -> str:
    return "deleted"

set_tracing_disabled(True)
steps = [[function_call("delete", {"path": "draft"}, call_id="1")], [assistant_message("As you wish.")]]
agent = Agent(name="Helper", tools=[delete], model=ScriptedModel(steps))
""")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "my_agent", raising=False)
    names: dict[str, Any] = {}
    exec(example("Test it"), names)  # noqa: S102 - the page's own words
    names["test_it_asks_before_it_deletes"]()
    assert names["execute"] is execute


def test_no_example_has_more_than_five_lines() -> None:
    lines = {
        title: len([line for line in example(title).splitlines() if line.strip()])
        for title in (*AGENTS, "A model's library")
    }
    assert max(lines.values()) <= MOST_LINES, lines
    assert [lines[title] for title in AGENTS] == [3, 3, 3, 3]
