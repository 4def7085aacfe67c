# ruff: noqa: E402 - the library may be missing
"""run.mcp(): the tools of a real MCP server, by its pipes and over HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.frameworks import need

need("mcp")

from runtime.child import Children, protocol
from runtime.registry import load
from runtime.sdk import Run
from runtime.sdk.adapters import mcp_servers
from runtime.sdk.testing import Result, execute
from runtime.settings import CHECKOUT
from runtime.system.processes import has_ended
from runtime.testing.ports import free_port
from runtime.testing.waiting import until
from tests.support.deaf_mcp_server import DeafServer

pytestmark = pytest.mark.frameworks

SERVER = CHECKOUT / "tests" / "support" / "mcp_server.py"
WITHIN = 60.0
BY_PIPES = {"numbers": {"command": sys.executable, "args": [str(SERVER)], "env": {"TIDE": "high"}}}


@pytest.fixture(scope="module")
def over_http() -> Iterator[dict[str, dict[str, Any]]]:
    """The server over HTTP, as a worker is told of it."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, str(SERVER), str(port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        while "running on" not in (line := process.stdout.readline()):
            assert line, "the server has ended"
        yield {"numbers": {"url": f"http://127.0.0.1:{port}/mcp", "headers": {"X-Tide": "high"}}}
        process.kill()


def called(result: Result) -> list[tuple[str, Any]]:
    """The calls that a reader sees, with their results."""
    assert result.error is None, result.error
    shown = [message.data for message in result.messages if message.type == "function"]
    arguments = {data["call_id"]: data["arguments"] for data in shown if "arguments" in data}
    return [
        (f"{data['name']} {arguments[data['call_id']]}", data["result"]) for data in shown if "result" in data
    ]


async def adding(run: Run) -> AsyncIterator[str]:
    async with run.mcp(run.config["mcp_servers"]) as tools:
        assert sorted(tools) == ["add", "book", "environment", "pid", "refuse", "sleep_long"]
        total, tide = await asyncio.gather(tools["add"](a=1, b=2), tools["environment"](name="TIDE"))
        yield f"{total} {tide}"


def adding_in_turn(run: Run) -> Iterator[str]:
    with run.mcp(run.config["mcp_servers"]) as tools:
        yield f"{tools['add'](a=1, b=2)} {tools['environment'](name='TIDE')}"


@pytest.mark.parametrize("worker", [adding, adding_in_turn])
def test_tools_of_a_server_that_is_started_are_called_and_shown(worker: Any) -> None:
    result = execute(worker, "add", config={"mcp_servers": BY_PIPES})
    assert sorted(called(result)) == [("add {'a': 1, 'b': 2}", 3), ("environment {'name': 'TIDE'}", "high")]
    assert result.text == "3 high"


def test_the_example_of_the_page_works(tmp_path: Path, over_http: dict[str, Any]) -> None:
    page = (CHECKOUT / "docs/reference/sdk.md").read_text().split("\n## Tools of MCP servers\n", 1)[1]
    (tmp_path / "example.py").write_text(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0])
    result = execute(tmp_path / "example.py", "add", config={"mcp_servers": over_http})
    assert (result.text, result.error) == ("The sum is 3.", None)


@pytest.mark.parametrize("worker", [adding, adding_in_turn])
def test_tools_of_a_server_over_http_are_called_and_shown(worker: Any, over_http: dict[str, Any]) -> None:
    result = execute(worker, "add", config={"mcp_servers": over_http})
    assert sorted(called(result)) == [("add {'a': 1, 'b': 2}", 3), ("environment {'name': 'TIDE'}", "")]


def test_a_model_is_given_the_tools_and_calls_them(over_http: dict[str, Any]) -> None:
    def worker(run: Run) -> None:
        with run.mcp(over_http) as tools:
            (chat,) = [one for one in tools.as_openai() if one["function"]["name"] == "add"]
            (responses,) = [one for one in tools.as_openai("responses") if one["name"] == "add"]
            (anthropic,) = [one for one in tools.as_anthropic() if one["name"] == "add"]
            assert chat["function"]["description"] == responses["description"] == "Add two numbers."
            assert chat["function"]["parameters"]["required"] == ["a", "b"]
            assert anthropic["input_schema"] == responses["parameters"] == tools["add"].schema
            run.state = [
                tools.call("add", '{"a": 1, "b": 2}', "call_9"),
                tools.call("add", {"a": "one", "b": 2}),
                tools.call("add", "{half"),
                tools.call("refuse"),
                tools.call("fly"),
            ]

    result = execute(worker, "add")
    assert result.error is None, result.error
    said = result.state
    assert said[0] == "3"
    assert said[1].startswith("Error: ") and "valid integer" in said[1]
    assert said[2].startswith("Error: The arguments are no JSON")
    assert said[3] == "Error: Error executing tool refuse: out of ink"
    assert said[4] == "Error: There is no tool fly."
    results = [message.data for message in result.messages if message.role == "tool"]
    assert results[0] == {"call_id": "call_9", "name": "add", "result": 3}
    assert [data.get("is_error") for data in results] == [None, True, True]


def test_a_tool_that_fails_raises_and_is_shown_as_failed(over_http: dict[str, Any]) -> None:
    def worker(run: Run) -> None:
        with run.mcp(over_http) as tools:
            tools["refuse"]()

    result = execute(worker, "refuse")
    assert str(result.error) == "ToolFailed: Error executing tool refuse: out of ink"
    assert result.messages[-1].data["is_error"] is True


def test_a_tool_whose_name_is_taken_is_called_after_its_server(over_http: dict[str, Any]) -> None:
    def worker(run: Run) -> str:
        with run.mcp({"first": over_http["numbers"], "second": over_http["numbers"]}) as tools:
            return f"{tools['add'](a=1, b=1)} {tools['second_add'](a=2, b=2)} {len(tools)}"

    assert execute(worker, "add").text == "2 4 12"


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_question_and_an_exception_leave_the_block_as_they_are(
    kind: str, over_http: dict[str, Any]
) -> None:
    async def asking_async(run: Run) -> None:
        async with run.mcp(over_http):
            if run.confirm("Fail?") == "yes":
                raise LookupError("as it was raised")

    def asking(run: Run) -> None:
        with run.mcp(over_http):
            if run.confirm("Fail?") == "yes":
                raise LookupError("as it was raised")

    waiting = execute(asking_async if kind == "async" else asking, "ask")
    assert (waiting.status, waiting.error) == ("waiting", None)
    assert str(waiting.answer("yes").error) == "LookupError: as it was raised"
    assert waiting.answer("no").status == "success"


async def booking(run: Run) -> AsyncIterator[str]:
    async with run.mcp(run.config["mcp_servers"]) as tools:
        yield await tools["book"](place="Nishiki")
        yield await tools["book"](place="Gion")


def booking_in_turn(run: Run) -> Iterator[str]:
    with run.mcp(run.config["mcp_servers"]) as tools:
        yield tools["book"](place="Nishiki")
        yield tools["book"](place="Gion")


@pytest.mark.parametrize("protocol", ["auto", "legacy"])
@pytest.mark.parametrize("worker", [booking, booking_in_turn])
def test_what_a_server_asks_is_asked_of_the_user(
    worker: Any, protocol: Any, over_http: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A server answers a call with what it asks; one of an older protocol asks in the middle of it.
    monkeypatch.setattr(mcp_servers, "Client", partial(mcp_servers.Client, mode=protocol))
    config = {"mcp_servers": BY_PIPES if protocol == "legacy" else over_http}
    waiting = execute(worker, "book", config=config)
    question = waiting.question
    assert waiting.status == "waiting" and question is not None, waiting.error
    assert question.prompt == "For whom, at Nishiki?"
    assert question.schema is not None
    wanted, decline = question.schema["anyOf"]
    assert wanted["required"] == ["name"] and set(wanted["properties"]) == {"name", "guests"}

    second = waiting.answer({"name": "Ann", "guests": 3})
    assert second.question is not None and second.question.prompt == "For whom, at Gion?", second.error
    done = second.answer({decline["required"][0]: True})
    assert (done.status, done.text) == ("success", "3 at Nishiki for Ann\n\ndeclined"), done.error
    assert [name for name, _ in called(done)] == [
        "book {'place': 'Nishiki'}",
        "book {'place': 'Gion'}",
    ]


def test_questions_of_calls_at_the_same_time_come_in_any_order(over_http: dict[str, Any]) -> None:
    async def worker(run: Run) -> AsyncIterator[str]:
        places = ["Gion", "Gion", "Nishiki"] if run.attempt == 1 else ["Nishiki", "Gion", "Gion"]
        async with run.mcp(over_http) as tools:
            yield ", ".join(sorted(await asyncio.gather(*(tools["book"](place=place) for place in places))))
        yield run.confirm("All?")

    result = execute(worker, "book")
    for name in ("Ann", "Ben", "Cem"):
        assert result.status == "waiting", result.error
        result = result.answer({"name": name})
    assert result.question is not None and result.question.prompt == "All?", result.error
    text = result.answer("yes").text
    assert re.sub("Ann|Ben|Cem", "…", text) == ("2 at Gion for …, 2 at Gion for …, 2 at Nishiki for …\n\nyes")
    assert sorted(re.findall("Ann|Ben|Cem", text)) == ["Ann", "Ben", "Cem"]


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        ({"command": "no-such-program"}, "No such file or directory"),
        ({"command": sys.executable, "args": ["-c", "raise SystemExit"]}, "Connection closed"),
        ({"url": "http://127.0.0.1:9/mcp"}, "connect"),
    ],
)
def test_a_server_that_cannot_be_used_fails_the_run_and_is_named(server: dict[str, Any], reason: str) -> None:
    def worker(run: Run) -> None:
        with run.mcp({"broken": server}):
            raise AssertionError("there is no such server")

    result = execute(worker, "hi")
    assert result.status == "error"
    assert str(result.error).startswith("The MCP server 'broken' cannot be used: ")
    assert reason in str(result.error)


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        ({}, "the MCP server 'x' needs a command or a url"),
        ({"command": "a", "url": "b"}, "the MCP server 'x' needs a command or a url"),
        ({"command": "a", "arguments": []}, "the MCP server 'x' has an unknown field: arguments"),
    ],
)
def test_a_server_that_is_described_wrongly_is_refused(server: dict[str, Any], problem: str) -> None:
    result = execute(lambda run: run.mcp({"x": server}) and None, "hi")
    assert str(result.error) == f"ValueError: {problem}"


def test_an_async_worker_is_told_to_wait_for_its_servers(over_http: dict[str, Any]) -> None:
    async def worker(run: Run) -> None:
        with run.mcp(over_http):
            raise AssertionError("this would block the event loop")

    assert (
        str(execute(worker, "hi").error) == "TypeError: an async worker says: async with run.mcp(…) as tools"
    )


@pytest.fixture
def deaf() -> Iterator[DeafServer]:
    server = DeafServer()
    yield server
    server.close()


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_servers_that_do_not_hear_of_the_end_of_their_sessions_are_left(
    kind: str, deaf: DeafServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_servers, "_CLOSE_WITHIN", 0.1)
    two = {"first": {"url": deaf.url}, "second": {"url": deaf.url}}

    async def leaving_async(run: Run) -> None:
        async with run.mcp(two):
            pass

    def leaving(run: Run) -> None:
        with run.mcp(two):
            pass

    result = execute(leaving_async if kind == "async" else leaving, "leave")
    assert (result.status, result.error) == ("success", None)
    until(lambda: deaf.left, WITHIN, "that nobody waits for an answer any more")


SLEEPING = """
from runtime.sdk import Run

SERVERS = {{"numbers": {{"command": "{python}", "args": ["mcp_server.py"]}}}}


{awaited}def run(run: Run):
    {awaited}with run.mcp(SERVERS) as tools:
        run.step(str({awaits}tools["pid"]()))
        {awaits}tools["sleep_long"]()
"""


@pytest.mark.parametrize("end", ["cancel", "kill"])
@pytest.mark.parametrize("kind", ["async", "sync"])
def test_no_server_is_left_when_the_run_ends(children: Children, tmp_path: Path, kind: str, end: str) -> None:
    folder = tmp_path / "worker"
    folder.mkdir()
    shutil.copy(SERVER, folder)
    words = {"awaited": "async ", "awaits": "await "} if kind == "async" else {"awaited": "", "awaits": ""}
    (folder / "sleeper.py").write_text(SLEEPING.format(python=sys.executable, **words))
    (folder / "worker.toml").write_text(
        'id = "sleeper"\nname = "Sleeper"\ntype = "python"\nentrypoint_path = "sleeper.py"\n'
    )
    line = json.dumps({"type": "run", "protocol": 1, "run": {"id": "r"}}).encode() + b"\n"
    child = children.start(load(folder), run_id="r", environ={}, line=line)
    decoder, said = protocol.Decoder(), list[protocol.WorkerEvent]()
    while sum(isinstance(event, protocol.Start) for event in said) < 2:
        chunk = child.read()
        assert chunk, child.read_log()
        said += decoder.feed(chunk)
    (pid,) = [int(event.description) for event in said if isinstance(event, protocol.Step)]
    assert not has_ended(pid)

    if end == "cancel":
        child.send(b'{"type":"cancel"}\n')
        while chunk := child.read():
            said += decoder.feed(chunk)
        results = [event for event in said if isinstance(event, protocol.CompleteMessage)]
        assert results[-1].data["result"] == "Cancelled."
    else:
        child.kill_group()
    child.wait(WITHIN)
    child.close()
    until(lambda: has_ended(pid), WITHIN, "the end of the server")
