"""The inbox in the SDK, with the pool that stands in tests of workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from types import FunctionType, ModuleType
from typing import Any

import pytest

from runtime.sdk import Run
from runtime.sdk.testing import Result, execute
from runtime.settings import CHECKOUT

INBOX = ["And birds?", None, "And fish?", "And bees?"]


def listener(run: Run) -> Iterator[str]:
    """Looks between its steps, and says what it finds."""
    for number in range(3):
        yield f"step {number}. "
        for message in run.inbox():
            yield f"Now {message.content} "


async def async_listener(run: Run) -> AsyncIterator[str]:
    """The same."""
    for number in range(3):
        yield f"step {number}. "
        async for message in run.inbox():
            yield f"Now {message.content} "


def conversation(result: Result) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in result.messages]


@pytest.mark.parametrize("worker", [listener, async_listener])
def test_a_message_is_read_where_the_worker_looks_and_ends_its_answer(worker: Any) -> None:
    result = execute(worker, "Tell me of cats", inbox=INBOX)

    assert conversation(result) == [
        ("assistant", "step 0. "),
        ("user", "And birds?"),
        ("assistant", "Now And birds? step 1. "),
        ("user", "And fish?"),
        ("assistant", "Now And fish? "),
        ("user", "And bees?"),
        ("assistant", "Now And bees? step 2. "),
    ]
    assert result.unread == []


def test_poll_returns_one_message_or_none() -> None:
    def worker(run: Run) -> str:
        found = [run.inbox.poll() for _ in range(5)]
        return str([message and message.content for message in found])

    assert execute(worker, "x", inbox=INBOX).text == str([*INBOX, None])


def test_poll_can_be_awaited() -> None:
    async def worker(run: Run) -> str:
        found = [await run.inbox.poll_async() for _ in range(2)]
        return str([message and message.content for message in found])

    assert execute(worker, "x", inbox=INBOX).text == str(INBOX[:2])


def test_what_nobody_reads_is_left() -> None:
    result = execute(lambda run: f"{run.inbox.poll().content}", "x", inbox=INBOX)

    assert result.text == "And birds?"
    assert [message.content for message in result.unread] == ["And fish?", "And bees?"]


@pytest.mark.parametrize("worker", [listener, async_listener])
def test_a_later_attempt_reads_the_same_wherever_the_first_was_lost(worker: Any) -> None:
    undisturbed = execute(worker, "Tell me of cats", inbox=INBOX)
    lines = 0
    while (lost := execute(worker, "Tell me of cats", inbox=INBOX, crash_after=lines)).status == "queued":
        assert conversation(lost.resume()) == conversation(undisturbed)
        lines += 1
    assert lines > 8


def test_looks_before_a_question_find_the_same_and_nothing_new() -> None:
    polls = iter([1, 3])
    """The first process looks once before it asks, the second one three times."""

    def worker(run: Run) -> str:
        found = [run.inbox.poll() for _ in range(next(polls))]
        run.confirm("Go on?")
        found.append(run.inbox.poll())
        return str([message and message.content for message in found])

    asked = execute(worker, "x", inbox=["one", "two"])
    result = asked.answer("yes")

    assert result.text == "['one', None, None, 'two']"
    assert conversation(result)[:3] == [("user", "one"), ("assistant", "Go on?"), ("user", "two")]


def test_a_look_within_a_durable_step_is_an_error() -> None:
    result = execute(lambda run: run.once("look", lambda: bool(run.inbox.poll())), "x", inbox=INBOX)

    assert result.status == "error"
    assert "a look into the inbox within the step 'look'" in str(result.error)


def test_looks_at_the_same_time_are_refused() -> None:
    async def worker(run: Run) -> str:
        await asyncio.gather(run.inbox.poll_async(), run.inbox.poll_async())
        return ""

    assert "is under way already" in str(execute(worker, "x", inbox=INBOX).error)


def test_a_worker_that_continues_does_not_get_its_messages_twice_into_the_conversation() -> None:
    def worker(run: Run) -> Iterator[str]:
        said = "".join(message.content for message in run.earlier + run.open if message.role == "assistant")
        words = ["a ", "b ", "c ", "d "]
        for number, word in enumerate(words):
            if number == 2:
                run.inbox.poll()
            if "".join(words[: number + 1]) not in said:
                yield word

    undisturbed = execute(worker, "x", inbox=["stop"])
    for lines in range(1, 6):
        lost = execute(worker, "x", inbox=["stop"], resume="continue", crash_after=lines)
        assert conversation(lost.resume()) == conversation(undisturbed), lines


def test_the_examples_of_the_documents_are_true() -> None:
    guide = _example("how-to/write-a-worker.md", "Listen while you work")
    guide |= {"cities_of": str.split, "look_up_the_weather": lambda _: "fair"}
    listening = execute(guide["run"], "Oslo Rome Lima", inbox=["and warm?", None, " Stop "])
    assert [text for _, text in conversation(listening)] == [
        "Oslo: fair\n", "and warm?", "I have read: and warm?\nRome: fair\n", " Stop ",
    ]  # fmt: skip

    asked: list[list[Any]] = []

    def ask_a_model(conversation: list[Any]) -> list[Any]:
        asked.append([*conversation])
        return ["call"] if len(asked) < 3 else []

    page = _example("reference/sdk.md", "The inbox")
    page |= {"ask_a_model": ask_a_model, "execute": lambda _: [{"role": "tool", "content": "3"}]}
    execute(page["run"], "Add", inbox=["and birds?"])
    assert [turn["content"] for turn in asked[-1]] == ["Add", "3", "and birds?", "3"]


def _example(page: str, section: str) -> dict[str, Any]:
    """The names that a section's first example in Python defines."""
    text = (CHECKOUT / "docs" / page).read_text().partition(f"\n## {section}\n")[2]
    example = ModuleType("example")
    code = compile(text.partition("```python\n")[2].partition("```")[0], page, "exec")
    FunctionType(code, example.__dict__)()
    return example.__dict__
