"""The planner, the executor, the supervisor and the thinker, against a scripted server of models."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.child import protocol
from runtime.registry import load
from runtime.sdk import Run
from runtime.sdk.testing import Result
from runtime.settings import CHECKOUT
from tests.support.fake_model import HELLO, FakeModel, chunk
from tests.support.frameworks import need
from tests.support.scripted_agents import GOAL, Ask, decision, member, plan, saying, script

WORKERS = CHECKOUT / "workers"
SERVER = CHECKOUT / "tests" / "support" / "mcp_server.py"
ROLES = {
    "planner_agent": ("planner", "structured_chat"),
    "executor_agent": ("executor", "tool_calling"),
    "supervisor_agent": ("supervisor", "structured_chat"),
    "thought_agent": ("thought", "structured_chat"),
}


def code_of(result: Result) -> Any:
    """What a member has said in JSON."""
    assert result.error is None, result.error
    [message] = [one for one in result.messages if one.type == "code"]
    assert message.data == {"language": "json"}
    return json.loads(message.content)


@pytest.mark.parametrize("worker", list(ROLES))
def test_each_agent_has_its_role_and_style(worker: str) -> None:
    manifest = load(WORKERS / worker)
    assert (manifest.role, manifest.style) == ROLES[worker]


@pytest.mark.parametrize("worker", list(ROLES))
def test_where_nothing_was_said_there_is_nothing_to_do(ask: Ask, worker: str, model: FakeModel) -> None:
    result = ask(worker)
    assert result.error is not None and result.error.message.startswith("There is no")
    assert model.requests == []


@pytest.mark.parametrize("worker", list(ROLES))
def test_an_error_of_the_provider_is_said(ask: Ask, worker: str, model: FakeModel) -> None:
    model.fails(401, message="Wrong key.")
    result = ask(worker, GOAL)
    assert result.error is not None and "refused the key: Wrong key." in result.error.message


# ── the planner ────────────────────────────────────────────────────────────────


def test_a_planner_answers_with_tasks_that_fit_its_schema(ask: Ask, model: FakeModel) -> None:
    script(model, planner=lambda _: plan("north", "south"))
    result = ask("planner_agent", GOAL, config={"max_tasks": 2, "model": "m", "system_prompt": "Be brief."})
    assert [task["title"] for task in code_of(result)["tasks"]] == ["north", "south"]
    assert result.usage == {"input_tokens": 10, "output_tokens": 2}
    [request] = model.requests
    assert request["model"] == "m" and request["messages"][0]["content"].startswith(
        "Be brief.\n\nYou are a planner."
    )
    schema = request["response_format"]["json_schema"]
    assert schema["strict"] is True and schema["schema"]["properties"]["tasks"]["maxItems"] == 2


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("Let me think about that.", "it is no JSON"),
        (plan("one", "two", "three"), "$.tasks: "),
        ('{"tasks": []}', "$.tasks: "),
        ('{"tasks": [{"title": "a"}]}', "'instruction' is a required property"),
        ('{"tasks": ' + "[" * 100_000 + "}", "it n"),
        ("", "it is no JSON"),
    ],
    ids=["words", "too_many", "none", "half", "deep", "silence"],
)
def test_a_plan_that_cannot_be_used_is_repaired_once(
    ask: Ask, model: FakeModel, bad: str, problem: str
) -> None:
    script(model, planner=lambda request: bad if len(request["messages"]) == 2 else plan("one"))
    result = ask("planner_agent", GOAL, config={"max_tasks": 2})
    assert [task["title"] for task in code_of(result)["tasks"]] == ["one"]
    told = model.requests[1]["messages"]
    assert [one["role"] for one in told] == ["system", "user", "assistant", "user"]
    assert told[2]["content"] == bad or not bad
    assert told[3]["content"].startswith("That cannot be used: ") and problem in told[3]["content"]

    script(model, planner=lambda _: bad)
    refused = ask("planner_agent", GOAL, config={"max_tasks": 2})
    assert refused.error is not None and "twice given an answer that cannot be used" in refused.error.message
    assert len(model.requests) == 4


def test_json_in_fences_is_json_and_no_format_is_asked_for_where_that_is_off(
    ask: Ask, model: FakeModel
) -> None:
    script(model, planner=lambda _: f"Here you are:\n```json\n{plan('one')}\n```\n")
    assert (
        code_of(ask("planner_agent", GOAL, config={"structured_output": False}))["tasks"][0]["title"] == "one"
    )
    assert "response_format" not in model.requests[0]


# ── the others ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "bad",
    [decision("repair", "Mend it."), decision("answer", " "), decision("perhaps", "Hm.")],
    ids=["repair_without_tasks", "answer_without_text", "unknown"],
)
def test_a_supervisor_decides_and_is_asked_again_where_that_makes_no_sense(
    ask: Ask, model: FakeModel, bad: str
) -> None:
    script(
        model,
        supervisor=lambda request: bad if len(request["messages"]) == 2 else decision("stop", "Enough."),
    )
    result = ask("supervisor_agent", GOAL)
    assert code_of(result) == {"decision": "stop", "text": "Enough.", "tasks": []}
    assert result.finish == "The supervisor says: stop."


def test_a_thinker_reasons_before_it_answers(ask: Ask, model: FakeModel) -> None:
    model.reply = lambda _: iter(
        saying(["The moon.", "It is the moon."][len(model.requests) - 1], thought="Hm. ")
    )
    result = ask("thought_agent", "Why tides?", config={"system_prompt": "Be brief."})
    assert [(one.channel, one.content) for one in result.messages] == [
        ("reasoning", "Hm. "), ("reasoning", "The moon."),
        ("reasoning", "Hm. "), ("answer", "It is the moon."),
    ]  # fmt: skip
    assert result.text == "It is the moon."
    [think, answer] = [one["messages"] for one in model.requests]
    assert [one["role"] for one in answer] == ["system", "user"] and "The moon." in answer[0]["content"]
    assert think[0]["content"].startswith("Be brief.\n\nThink") and think[1] == answer[1]


def test_an_executor_does_its_task_without_tools_where_it_has_none(ask: Ask, model: FakeModel) -> None:
    script(model, executor=lambda _: "Done.")
    assert ask("executor_agent", GOAL).text == "Done."
    assert "tools" not in model.requests[0]


def test_an_executor_is_told_that_a_tool_is_not_there_and_reads_what_it_is_sent(
    ask: Ask, model: FakeModel
) -> None:
    call = {"index": 0, "id": "a", "function": {"name": "fly", "arguments": "{}"}}
    calling = [chunk({"tool_calls": [call]}), chunk({}, finish="tool_calls")]
    turns = [calling, saying("Done."), saying("Fish, too.")]
    model.reply = lambda _: iter(turns[len(model.requests) - 1])
    result = ask("executor_agent", GOAL, inbox=[None, "and fish?", None])
    assert result.error is None, result.error
    assert model.requests[1]["messages"][-1]["content"] == "Error: There is no tool fly."
    assert model.requests[2]["messages"][-1]["content"] == "and fish?"
    assert [one.data["is_error"] for one in result.messages if one.role == "tool"] == [True]
    assert not any("tools" in request for request in model.requests)


GO_ON = {"role": "user", "content": "Go on.", "author": "auto"}


def finishing(request: dict[str, Any], arguments: str = '{"reason": "The tides are mapped."}') -> list[bytes]:
    """The model says that the goal is reached, and then its last answer."""
    if request["messages"][-1]["role"] == "tool":
        return saying("All is mapped.")
    call = {"index": 0, "id": "a", "function": {"name": "finish", "arguments": arguments}}
    return [chunk({"tool_calls": [call]}), chunk({}, finish="tool_calls")]


def test_an_executor_that_goes_on_by_itself_says_when_the_goal_is_reached(ask: Ask, model: FakeModel) -> None:
    model.reply = lambda request: iter(finishing(request))
    result = ask("executor_agent", GOAL, GO_ON)
    assert (result.error, result.finish) == (None, "The tides are mapped.")
    assert result.text == "All is mapped."
    assert [tool["function"]["name"] for tool in model.requests[0]["tools"]] == ["finish"]

    for crash_after in range(1, len(result.events)):
        again = ask("executor_agent", GOAL, GO_ON, crash_after=crash_after).resume()
        assert (again.error, again.finish) == (None, "The tides are mapped."), crash_after


@pytest.mark.parametrize("arguments", ["{", "[]", "{}"])
def test_a_finish_without_a_reason_does_not_fail_an_executor(
    ask: Ask, model: FakeModel, arguments: str
) -> None:
    model.reply = lambda request: iter(finishing(request, arguments))
    result = ask("executor_agent", GOAL, GO_ON)
    assert (result.error, result.text) == (None, "All is mapped.")
    assert result.finish == ("" if arguments == "{}" else None)


@pytest.mark.parametrize("config", [{}, {"may_finish": False}])
def test_an_executor_has_no_function_to_finish_where_it_is_not_to(
    ask: Ask, model: FakeModel, config: dict[str, Any]
) -> None:
    script(model, executor=lambda _: "Done.")
    result = ask("executor_agent", GOAL, *([GO_ON] if config else []), config=config)
    assert (result.text, result.finish) == ("Done.", None)
    assert "tools" not in model.requests[0]


@pytest.mark.frameworks
def test_an_executor_asks_its_user_what_its_servers_ask(
    ask: Ask, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("mcp")
    from runtime.sdk.adapters.mcp_servers import Servers

    started = {"numbers": {"command": sys.executable, "args": [str(SERVER)]}}
    monkeypatch.setattr(Run, "mcp", lambda run, _, **__: Servers(run, started))
    places = ("Gion", "Nishiki")

    def reply(request: dict[str, Any]) -> Iterator[bytes]:
        booked = sum(one["role"] == "tool" for one in request["messages"])
        if booked == len(places):
            return iter(saying("Booked."))
        function = {"name": "book", "arguments": json.dumps({"place": places[booked]})}
        call = {"index": 0, "id": "a", "function": function}
        return iter([chunk({"tool_calls": [call]}), chunk({}, finish="tool_calls")])

    model.reply = reply
    first = ask("executor_agent", GOAL, config={"mcp_servers": {"numbers": {"url": "https://mcp.example"}}})
    assert first.question is not None, first.error
    second = first.answer({"name": "Ann"})
    assert second.question is not None, second.error
    done = second.answer({"name": "Bob"})
    assert (done.error, done.text) == (None, "Booked.")
    assert [one.data["result"] for one in done.messages if one.role == "tool"] == [
        "2 at Gion for Ann",
        "2 at Nishiki for Bob",
    ]


def test_an_executor_reaches_no_private_network(ask: Ask, model: FakeModel) -> None:
    pytest.importorskip("mcp")
    config = {"mcp_servers": {"inside": {"url": "http://127.0.0.1:9/mcp"}}}
    assert "127.0.0.1 is not at a public address" in str(ask("executor_agent", GOAL, config=config).error)


@pytest.mark.parametrize("worker", list(ROLES))
def test_a_lost_attempt_asks_no_model_again_for_what_was_saved(
    ask: Ask, worker: str, model: FakeModel
) -> None:
    replies = {"planner": plan("one"), "executor": "Done.", "supervisor": decision("answer", "Yes.")}

    def reply(request: dict[str, Any]) -> Iterator[bytes]:
        said = "Hm." if worker == "thought_agent" else replies[member(request)]
        return iter(saying(said))

    model.reply = reply
    whole = ask(worker, GOAL)
    needed = len(model.requests)
    for crash_after in range(len(whole.events)):
        model.requests.clear()
        lost = ask(worker, GOAL, crash_after=crash_after)
        before, kept = len(model.requests), len(lost.saved)
        result = lost.resume()
        assert [one.content for one in result.messages] == [one.content for one in whole.messages]
        assert len(model.requests) == before + needed - kept
        assert result.usage == whole.usage


def test_an_agent_runs_in_a_pool(model: FakeModel, say: Any) -> None:
    script(model, planner=lambda _: plan("one"))
    said = say("planner_agent", HELLO)
    assert said[-1] == protocol.Done(), said
    assert any(isinstance(one, protocol.CompleteMessage) and one.type == "code" for one in said)
