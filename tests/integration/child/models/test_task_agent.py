"""The agent that splits a feature into tasks, against a scripted server of models."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runtime.sdk.testing import Result
from tests.support.fake_model import FakeModel, chunk
from tests.support.scripted_agents import Ask, saying

FEATURE = "People can export their data."


def task(id: str, *after: str, hours: float = 2, title: str = "Do it") -> dict[str, Any]:
    return {
        "id": id,
        "title": title,
        "description": f"About {id}.",
        "estimate_hours": hours,
        "depends_on": [*after],
    }


def tasks(*listed: dict[str, Any]) -> str:
    return json.dumps({"summary": "An export.", "tasks": listed})


def answering(model: FakeModel, *answers: str) -> None:
    """The model's answers, one for each request; the last one is that of all further ones."""
    model.reply = lambda _: iter(saying(answers[min(len(model.requests), len(answers)) - 1]))


def planned(result: Result) -> dict[str, Any]:
    assert result.error is None, result.error
    [message] = result.messages
    return message.data


def test_tasks_are_listed_behind_those_that_they_depend_on_and_drawn(ask: Ask, model: FakeModel) -> None:
    listed = task("T3", "T1", "T2", hours=1), task("T1", hours=0.5, title='A "b"'), task("T2", "T1", "", "T1")
    answering(model, tasks(*listed))
    result = ask("task_agent", FEATURE, args={"project_id": "p1"}, config={"system_prompt": "Be brief."})

    plan = planned(result)
    assert [(one["id"], one["depends_on"]) for one in plan["tasks"]] == [
        ("T1", []),
        ("T2", ["T1"]),
        ("T3", ["T1", "T2"]),
    ]
    assert (plan["project_id"], plan["summary"], plan["total_hours"]) == ("p1", "An export.", 3.5)
    assert (plan["longest_chain"], plan["longest_chain_hours"]) == (["T1", "T2", "T3"], 3.5)
    assert result.text == (
        "An export.\n\n"
        '- **T1 A "b"** (0.5 h): About T1.\n'
        "- **T2 Do it** (2 h, ← T1): About T2.\n"
        "- **T3 Do it** (1 h, ← T1, T2): About T3.\n\n"
        "```mermaid\nflowchart TD\n"
        '  n1["T1 A #quot;b#quot;"]\n  n2["T2 Do it"]\n  n3["T3 Do it"]\n'
        "  n1 --> n2\n  n1 --> n3\n  n2 --> n3\n```"
    )
    assert model.requests[0]["messages"][0]["content"].startswith("Be brief.\n\nYou plan the work")
    assert result.usage == {"input_tokens": 10, "output_tokens": 2}


BAD = {
    "circle": (tasks(task("T1", "T3"), task("T2", "T1"), task("T3", "T2")), "in a circle: T1 → T2 → T3 → T1"),
    "itself": (tasks(task("T1", "T1")), "in a circle: T1 → T1"),
    "nowhere": (tasks(task("T1", "T9")), "T1 depends on T9, which is no task"),
    "twice": (tasks(task("T1"), task("T1")), "two tasks have the id T1"),
    "long_id": (tasks(task("set up")), "the id 'set up' is no short word"),
    "no_time": (tasks(task("T1", hours=0)), "the estimate of T1"),
    "no_number": (tasks(task("T1", hours=float("nan"))), "the estimate of T1"),
    "half": ('{"summary": "", "tasks": [{"id": "T1"}]}', "is a required property"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_a_plan_that_makes_no_sense_is_repaired_once_and_then_refused(
    ask: Ask, model: FakeModel, name: str
) -> None:
    bad, problem = BAD[name]
    answering(model, bad, tasks(task("T1")))
    assert [one["id"] for one in planned(ask("task_agent", FEATURE))["tasks"]] == ["T1"]
    assert problem in model.requests[1]["messages"][-1]["content"]

    model.requests.clear()
    answering(model, bad)
    error = ask("task_agent", FEATURE).error
    assert error is not None and problem in error.message and len(model.requests) == 2


@pytest.mark.parametrize(
    ("config", "args", "most"),
    [
        ({}, None, 10),
        ({"detail_level": "low"}, None, 5),
        ({"detail_level": "low"}, {"detail_level": "high"}, 20),
    ],
    ids=["usual", "configured", "sent"],
)
def test_the_client_says_how_detailed_a_plan_is(
    ask: Ask, model: FakeModel, config: dict[str, Any], args: Any, most: int
) -> None:
    answering(model, tasks(task("T1")))
    planned(ask("task_agent", FEATURE, config=config, args=args))
    schema = model.requests[0]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["tasks"]["maxItems"] == most


@pytest.mark.parametrize("args", [{"detail_level": "huge"}, {"project_id": 5}])
def test_a_plan_that_cannot_be_asked_for_is_refused(ask: Ask, model: FakeModel, args: Any) -> None:
    error = ask("task_agent", FEATURE, args=args).error
    assert error is not None and next(iter(args)) in error.message
    assert model.requests == []


def test_a_plan_behind_a_thought_is_read(ask: Ask, model: FakeModel) -> None:
    answering(model, f'<think>Perhaps {{"tasks": []}}?</think>\n{tasks(task("T1"))}')
    result = ask("task_agent", FEATURE)
    assert [(one.channel, one.type) for one in result.messages] == [("reasoning", "text"), ("answer", "text")]

    model.requests.clear()
    answering(model, f'Perhaps {{"tasks": []}}?</think>\n{tasks(task("T1"))}')
    assert planned(ask("task_agent", FEATURE)) and len(model.requests) == 1


@pytest.mark.parametrize(("finish", "why"), [("length", "too long"), ("content_filter", "content filter")])
def test_a_plan_that_was_cut_off_is_asked_for_again(
    ask: Ask, model: FakeModel, finish: str, why: str
) -> None:
    cut = [chunk({"content": tasks(task("T1"))[:40]}), chunk({}, finish=finish)]
    model.reply = lambda _: iter(cut if len(model.requests) == 1 else saying(tasks(task("T1"))))
    assert planned(ask("task_agent", FEATURE))
    assert why in model.requests[1]["messages"][-1]["content"]


def test_a_server_that_tells_no_usage_in_streams_is_asked_without(ask: Ask, model: FakeModel) -> None:
    model.reply = lambda _: iter(saying(tasks(task("T1")), usage=None))
    model.refuses = lambda request: "stream_options" in request
    model.refusal = b'{"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"]}]}'
    result = ask("task_agent", FEATURE)
    assert planned(result) and result.usage == {}
    assert [len(request.get("response_format", {})) for request in model.requests] == [2, 2]


@pytest.mark.parametrize("taken", ["json_schema", "json_object", None])
def test_a_server_is_asked_for_as_much_structure_as_it_takes(
    ask: Ask, model: FakeModel, taken: str | None
) -> None:
    kinds = ["json_schema", "json_object", None]

    def kind(request: dict[str, Any]) -> str | None:
        wanted: str | None = request.get("response_format", {}).get("type")
        return wanted

    answering(model, tasks(task("T1")))
    model.refuses = lambda request: kind(request) != taken
    planned(ask("task_agent", FEATURE))
    asked = [kind(request) for request in model.requests]
    assert asked == kinds[: kinds.index(taken) + 1]


def test_a_lost_attempt_pays_for_no_plan_again(ask: Ask, model: FakeModel) -> None:
    answering(model, tasks(task("T1")))
    whole = ask("task_agent", FEATURE)
    for crash_after in range(len(whole.events)):
        assert ask("task_agent", FEATURE, cancel_after=crash_after).status == "cancelled"
        model.requests.clear()
        lost = ask("task_agent", FEATURE, crash_after=crash_after)
        before = len(model.requests)
        result = lost.resume()
        assert planned(result) == planned(whole)
        assert len(model.requests) == before + (not lost.saved)
        assert result.usage == whole.usage


def test_where_nothing_is_asked_for_there_is_nothing_to_plan(ask: Ask, model: FakeModel) -> None:
    error = ask("task_agent").error
    assert error is not None and error.message == "There is no feature to plan."
