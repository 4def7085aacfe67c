"""A crew of the shipped agents, against a scripted server of models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runtime.registry import load
from runtime.sdk import Run
from runtime.sdk.testing import Result
from runtime.settings import CHECKOUT
from tests.support.fake_model import FakeModel, chunk
from tests.support.scripted_agents import GOAL, Ask, asked, decision, ledger, member, plan, saying, script


def found(request: dict[str, Any]) -> str:
    """An executor's answer: what its task was."""
    return f"found {asked(request).rpartition('Your task: ')[2].splitlines()[0]}"


def checklist(result: Result) -> list[list[tuple[str, str | None]]]:
    """The plans that were shown, each with the titles and how they ended."""
    return [
        [(task["title"], task.get("status")) for task in one.data["checklist"]]
        for one in result.messages
        if "checklist" in one.data
    ]


def test_a_crew_has_its_role_and_style() -> None:
    manifest = load(CHECKOUT / "workers" / "crew_agent")
    assert (manifest.role, manifest.style) == ("crew", "structured_chat")


def test_a_crew_plans_works_and_joins(ask: Ask, model: FakeModel) -> None:
    script(
        model,
        planner=lambda _: plan("north", "south"),
        executor=found,
        supervisor=lambda request: decision("answer", "It is mapped."),
    )
    result = ask("crew_agent", GOAL, config={"model": "m"})
    assert result.error is None, result.error
    assert result.text.endswith("It is mapped.")
    assert result.finish == "The supervisor finds the goal reached."
    assert checklist(result) == [[("north", "success"), ("south", "success")]]
    [plan_message] = [one for one in result.messages if "checklist" in one.data]
    assert (plan_message.author, plan_message.content) == ("planner_agent", "- [ ] north\n- [ ] south")
    assert [member(request) for request in model.requests] == [
        "planner",
        "executor",
        "executor",
        "supervisor",
    ]
    assert {request["model"] for request in model.requests} == {"m"}
    assert "found north" in asked(model.requests[-1]) and "found south" in asked(model.requests[-1])


def test_a_task_that_fails_is_told_and_repaired(ask: Ask, model: FakeModel) -> None:
    def executor(request: dict[str, Any]) -> str | Iterator[bytes]:
        if "Your task: south" in asked(request):
            return iter(
                [
                    chunk({"content": "cannot"}),
                    b'data: {"error": {"message": "No.", "type": "invalid_request_error"}}\n\n',
                ]
            )
        return found(request)

    def supervisor(request: dict[str, Any]) -> str:
        if "found coast" in asked(request):
            return decision("answer", "Mapped.")
        assert "This failed: 127.0.0.1 broke off: No." in asked(request)
        return decision("repair", "The south is missing.", "coast")

    script(model, planner=lambda _: plan("north", "south"), executor=executor, supervisor=supervisor)
    result = ask("crew_agent", GOAL)
    assert result.text.endswith("Mapped.")
    assert checklist(result) == [[("north", "success"), ("south", "error")], [("coast", "success")]]
    assert [one.author for one in result.messages if "checklist" in one.data] == [
        "planner_agent",
        "supervisor_agent",
    ]
    coast = next(asked(one) for one in model.requests if "Your task: coast" in asked(one))
    assert "found north" in coast and "This failed" in coast


def test_a_supervisor_stops_the_crew_and_a_crew_stops_after_its_turns(ask: Ask, model: FakeModel) -> None:
    script(
        model,
        planner=lambda _: plan("north"),
        executor=found,
        supervisor=lambda _: decision("stop", "No sea."),
    )
    assert str(ask("crew_agent", GOAL).error) == "The supervisor has stopped the crew: No sea."

    script(
        model,
        planner=lambda _: plan("north"),
        executor=found,
        supervisor=lambda _: decision("repair", "More.", "again"),
    )
    model.requests.clear()
    result = ask("crew_agent", GOAL, config={"max_turns": 2})
    assert result.error is not None and "within the turns" in result.error.message
    assert sum(member(one) == "supervisor" for one in model.requests) == 2
    assert "There is no turn left" in asked(model.requests[-1])


def test_a_large_task_goes_to_a_crew_below_as_far_as_the_depth_allows(ask: Ask, model: FakeModel) -> None:
    planned = iter([plan("north", "south", split=("south",)), plan("bay", "cape")])
    script(
        model,
        planner=lambda _: next(planned),
        executor=found,
        supervisor=lambda request: decision(
            "answer", "All of it." if "north" in asked(request) else "The south."
        ),
    )
    result = ask("crew_agent", GOAL, config={"depth": 2})
    assert result.error is None, result.error
    assert checklist(result) == [[("north", "success"), ("south", "success")]]
    assert "The south." in asked(model.requests[-1])
    assert [member(one) for one in model.requests].count("planner") == 2
    [above, below] = [one for one in model.requests if member(one) == "planner"]
    items = [
        one["response_format"]["json_schema"]["schema"]["properties"]["tasks"]["items"]
        for one in (above, below)
    ]
    assert ["split" in one["properties"] for one in items] == [True, False]


def test_a_crew_keeps_to_its_budget(ask: Ask, model: FakeModel) -> None:
    script(
        model,
        planner=lambda _: plan("north", "south"),
        executor=found,
        supervisor=lambda _: decision("repair", "More.", "again"),
    )
    result = ask("crew_agent", GOAL, config={"budget_tokens": 36})
    assert str(result.error) == "The budget of 36 tokens is used up: the crew has used 36."
    assert [member(one) for one in model.requests] == ["planner", "executor", "executor"]

    script(model, planner=lambda _: iter(saying(plan("north"), usage=None)))
    unknown = ask("crew_agent", GOAL, config={"budget_tokens": 36})
    assert "planner_agent does not say how many tokens it uses" in str(unknown.error)


def test_another_worker_may_be_the_executor(ask: Ask, model: FakeModel) -> None:
    script(
        model, planner=lambda _: plan("north"), supervisor=lambda request: decision("answer", asked(request))
    )
    config = {"executor": "other", "executor_config": {"loud": True}}
    other = lambda run: f"{run.config} did {run.messages[-1].content}"  # noqa: E731
    result = ask("crew_agent", GOAL, config=config, calls={"other": other})
    assert "{'loud': True} did The goal" in result.text and "task: north\nDo north." in result.text
    silent = ask("crew_agent", GOAL, config={"planner": "other"}, calls={"other": other})
    assert "other has given no JSON" in str(silent.error)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ('{"decision": "repair", "text": "More."}', "There is no task in the plan."),
        ('{"a": ' + "[" * 100_000, "has given no JSON"),
    ],
    ids=["repair_without_tasks", "nested_too_deeply"],
)
def test_a_supervisor_of_another_kind_fails_the_crew_with_a_reason(
    ask: Ask, model: FakeModel, said: str, reason: str
) -> None:
    def other(run: Run) -> None:
        run.message(said, type="code", data={"language": "json"})

    script(model, planner=lambda _: plan("north"), executor=found)
    result = ask("crew_agent", GOAL, config={"supervisor": "other"}, calls={"other": other})
    assert reason in str(result.error) and "Error:" not in str(result.error)


def test_a_lost_crew_asks_nothing_twice(ask: Ask, model: FakeModel) -> None:
    script(
        model,
        planner=lambda _: plan("north", "south"),
        executor=found,
        supervisor=lambda request: (
            decision("answer", "Mapped.")
            if "found coast" in asked(request)
            else decision("repair", "More.", "coast")
        ),
    )
    whole = ask("crew_agent", GOAL)
    for crash_after in range(len(whole.events)):
        model.requests.clear()
        result = ask("crew_agent", GOAL, crash_after=crash_after).resume()
        assert [one.content for one in result.messages] == [one.content for one in whole.messages]
        assert len(model.requests) == 6 and set(ledger(model).values()) == {1}


def test_a_question_of_an_executor_is_asked_and_no_model_is_asked_twice(ask: Ask, model: FakeModel) -> None:
    script(
        model,
        planner=lambda _: plan("north", "south", "east"),
        supervisor=lambda request: decision("answer", asked(request).partition("tasks:\n")[2]),
    )

    def other(run: Run) -> str:
        title = run.messages[-1].content.rpartition("Your task: ")[2].splitlines()[0]
        return f"{title} is {run.confirm('How far?')}" if title == "south" else f"found {title}"

    waiting = ask("crew_agent", GOAL, config={"executor": "other"}, calls={"other": other})
    assert waiting.question is not None and waiting.question.prompt == "How far?"
    result = waiting.answer("near")
    assert result.error is None, result.error
    assert all(part in result.text for part in ("found north", "south is near", "found east"))
    assert len(checklist(result)) == 1
    assert [member(one) for one in model.requests] == ["planner", "supervisor"]
