"""Sub-runs in tests of workers: executed in place, found again later, asked through their caller."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.sdk import Failure, Run
from runtime.sdk.testing import execute

TEAM = Path(__file__).parents[1] / "more_workers" / "team"


def caller(run: Run) -> Iterator[str]:
    found = run.call("finder", run.messages[-1].content, config={"deep": True})
    yield f"{found.status}: {found.text}"


def finder(run: Run) -> str:
    assert run.config == {"deep": True}
    return f"found {run.messages[-1].content}"


def failing(run: Run) -> str:
    raise Failure("I cannot.")


def asking(run: Run) -> Iterator[str]:
    yield "let me see "
    yield f"answered {run.confirm('Shall I?')}"


def forwarding(run: Run) -> Iterator[str]:
    yield "before "
    yield from run.call("asking")
    yield " after"


def test_a_called_worker_is_executed_in_place() -> None:
    result = execute(caller, "it", calls={"finder": finder})

    assert result.text == "success: found it"


def test_what_fails_or_is_not_there_is_a_value() -> None:
    assert execute(caller, "it", calls={"finder": failing}).text == "error: "
    assert execute(caller, "it").text == "error: "


def test_a_later_attempt_finds_the_sub_run() -> None:
    executed: list[int] = []

    def counted(run: Run) -> str:
        executed.append(run.attempt)
        return "once"

    result = execute(caller, "it", calls={"finder": counted}, crash_after=2)

    assert result.status == "queued"
    assert result.resume().text == "success: once"
    assert executed == [1]


def test_a_question_of_a_sub_run_is_asked_and_answered_at_the_top() -> None:
    result = execute(forwarding, "go", calls={"asking": asking})

    assert result.status == "waiting"
    assert result.question is not None
    assert result.question.prompt == "Shall I?"
    told = [(m.type, m.content) for m in result.answer("yes").messages]
    assert told == [
        ("text", "before let me see "),
        ("confirmation", "Shall I?"),
        ("text", "answered yes after"),
    ]
    assert result.answer("no").messages[-1].content == "answered no after", "a result does not change"


def test_calls_of_an_async_worker_are_awaited_together() -> None:
    async def gathering(run: Run) -> str:
        calls = [run.call("say", name, id=name) for name in "abc"]
        return "".join(call.text for call in await asyncio.gather(*calls))

    async def say(run: Run) -> Any:
        await asyncio.sleep(0)
        return run.messages[-1].content

    assert execute(gathering, calls={"say": say}).text == "abc"


def test_a_folder_finds_itself_and_its_neighbours() -> None:
    assert execute(TEAM, "go", args={"way": "chain", "depth": 2}).text == "2:success:1:success:bottom"
    assert execute(TEAM, "go", args={"way": "unknown", "worker": "titler"}).text.split()[1] != "None"


def test_sub_runs_that_would_be_too_deep_are_refused() -> None:
    assert execute(TEAM, "go", args={"way": "chain", "depth": 6}).text.endswith("1:error:")
