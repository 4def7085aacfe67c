"""The SDK: what outlives a worker's process. Durable steps, its state, the text of a lost attempt."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.support.sdk_process import Execute

PLAIN_STEPS = """
    def add(a, b):
        return (a, b)

    def run(run):
        yield repr(run.once("first", add, 1, b=2))
        yield repr(run.once(add)(3, 4))
        yield repr(run.once("first", add, 1, b=2))

        @run.once("third")
        def third():
            run.usage(tokens=5)
            run.step("on the way")
            return {"x": None}

        yield repr(third())
"""
ASYNC_STEPS = PLAIN_STEPS.replace("def ", "async def ").replace("repr(", "repr(await ")
THREADED_STEPS = """
    from concurrent.futures import ThreadPoolExecutor

    def run(run):
        with ThreadPoolExecutor() as pool:
            steps = [pool.submit(run.once, key, lambda key=key: [key]) for key in "abc"]
            yield from (repr(step.result()) for step in steps)
"""
GATHERED_STEPS = """
    import asyncio

    async def run(run):
        async def make(key):
            return [key]
        for value in await asyncio.gather(*(run.once(key, make, key) for key in "abc")):
            yield repr(value)
"""


@pytest.mark.parametrize("source", [PLAIN_STEPS, ASYNC_STEPS], ids=["plain", "async"])
def test_a_step_is_saved_once_and_not_taken_again(execute: Execute, source: str) -> None:
    first = execute(source)
    said = []
    keys = {}
    while (line := first.next())["type"] != "done":
        if line["type"] == "save":
            keys[line["key"]] = line
            first.answer({"type": "saved", "key": line["key"]})
        else:
            said.append(line)
    assert [line["text"] for line in said if line["type"] == "delta"] == [
        "[1, 2]", "[3, 4]", "[1, 2]", "{'x': None}"
    ]  # fmt: skip
    assert {key: line["value"] for key, line in keys.items()} == {
        "first": [1, 2], "add#1": [3, 4], "third": {"x": None}
    }  # fmt: skip
    assert keys["third"]["usage"] == {"tokens": 5}
    assert first.code == 0

    again = execute(
        source,
        saved={key: line["value"] for key, line in keys.items()},
        digests={key: line["digest"] for key, line in keys.items()},
    )
    texts = [line["text"] for line in said if line["type"] == "delta"]
    assert again.end() == [*({"type": "delta", "text": text} for text in texts), {"type": "done"}]


@pytest.mark.parametrize("source", [THREADED_STEPS, GATHERED_STEPS], ids=["threads", "tasks"])
def test_steps_are_taken_at_the_same_time(execute: Execute, source: str) -> None:
    executed = execute(source)
    lines = [executed.next() for _ in "abc"]
    assert sorted(line["value"][0] for line in lines) == ["a", "b", "c"]
    for line in reversed(lines):
        executed.answer({"type": "saved", "key": line["key"]})
    assert [line.get("text") for line in executed.end()] == ["['a']", "['b']", "['c']", None]


def test_a_value_that_was_saved_before_counts(execute: Execute) -> None:
    executed = execute(
        "def run(run):\n    yield run.once('k', lambda: 'new') + run.once('k', lambda: 'newer')"
    )
    executed.next()
    executed.answer({"type": "saved", "key": "k", "value": "old"})
    assert executed.end() == [{"type": "delta", "text": "oldold"}, {"type": "done"}]


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("run.once('k', lambda: run.once('l', int))", "is within another one"),
        ("run.once('k', lambda: run.confirm('Sure?'))", "a question within the step 'k'"),
        ("run.once('k', lambda: run.delta('a'))", "would be missing in a later attempt"),
        ("run.once('k', lambda: run.message('a'))", "would be missing in a later attempt"),
        ("run.once('k', lambda: object())", "is no JSON"),
        ("run.once('k', lambda: float('nan'))", "is no JSON"),
        ("run.once('k', lambda: (x for x in 'ab'))", "must return its result"),
        ("run.once('k', lambda: 'x' * (1 << 20))", "larger than 1048576 bytes"),
        ("run.once('', int)", "a text of 1 to 200 characters"),
        ("run.once('old', int, 2)", "was taken before with other arguments"),
        ("run.once('k', lambda: 1 / 0)", "division by zero"),
    ],
)
def test_what_a_step_may_not_do_is_an_error_and_nothing_is_saved(
    execute: Execute, step: str, error: str
) -> None:
    executed = execute(f"def run(run):\n    {step}", saved={"old": 1}, digests={"old": "of 1"})
    [said] = executed.end()
    assert said["type"] == "error"
    assert error in said["message"]


def test_a_step_that_is_refused_fails_the_run(execute: Execute) -> None:
    executed = execute("def run(run):\n    run.once('k', int)")
    executed.next()
    executed.answer({"type": "refused", "of": "save", "key": "k", "message": "a run may save 16 MiB"})
    [said] = executed.end()
    assert said["message"] == "The step 'k' is not saved: a run may save 16 MiB."


@pytest.mark.parametrize("source", [PLAIN_STEPS, ASYNC_STEPS], ids=["plain", "async"])
@pytest.mark.parametrize("how", ["cancel", "end"])
def test_a_worker_that_waits_for_its_step_can_be_stopped(execute: Execute, source: str, how: str) -> None:
    executed = execute(source)
    executed.next()
    if how == "end":
        executed.stdin.close()
    else:
        executed.answer({"type": "cancel"})
    assert executed.code == 128 + signal.SIGTERM


def test_a_service_is_given_a_key_of_the_run(execute: Execute) -> None:
    executed = execute("def run(run):\n    yield run.key('pay')", run={"id": "r1", "attempt": 3})
    assert executed.end()[0]["text"] == "r1:pay"


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("run.state['n'] = run.state.get('n', 0) + 1", [{"n": 2}]),
        ("run.state = [1]\n    run.state = [2]", [[1], [2]]),
        ("run.state['n'] = 5\n    raise ValueError", [{"n": 5}]),
        ("run.state = None", [None]),
        ("run.state\n    run.thread['title']", []),
        ("pass", []),
        ("run.state['n'] = 3\n    run.confirm('Sure?')\n    run.state['n'] += 1", [{"n": 4}]),
    ],
)
def test_a_worker_keeps_something_for_the_next_one(execute: Execute, source: str, kept: list[Any]) -> None:
    executed = execute(
        f"def run(run):\n    {source}",
        state={"n": 1},
        thread={"title": "T"},
        answers=[{"confirmation_id": "1", "answer": "yes"}] if "confirm" in source else [],
    )
    assert [said["value"] for said in executed.end() if said["type"] == "state"] == kept


def test_a_worker_that_is_cancelled_keeps_what_it_has(execute: Execute) -> None:
    executed = execute(
        """
        import time
        def run(run):
            run.state["n"] = 1
            yield "on"
            time.sleep(60)
        """
    )
    executed.next()
    executed.answer({"type": "cancel"})
    assert executed.end() == [{"type": "state", "value": {"n": 1}}]


@pytest.mark.parametrize("value", ["'x' * (1 << 20)", "object()", "float('nan')"])
def test_what_cannot_be_kept_is_an_error(execute: Execute, value: str) -> None:
    [said] = execute(f"def run(run):\n    run.state = {value}").end()
    assert said["type"] == "error"


def test_a_worker_goes_on_with_the_messages_of_a_lost_attempt(execute: Execute) -> None:
    executed = execute(
        """
        def run(run):
            run.start(channel="reasoning").end()
            run.start(channel="reasoning").end()
            yield " on"
        """,
        open=[
            {"id": "m1", "role": "assistant", "type": "text", "channel": "reasoning", "content": "Hm"},
            {"id": "m2", "role": "assistant", "type": "text", "channel": "answer", "content": "And"},
        ],
        continued=True,
    )
    first, _, second, _, *rest = executed.end()
    assert (first["continues"], "continues" in second) == ("m1", False)
    assert rest == [{"type": "delta", "text": " on"}, {"type": "done"}]


@pytest.mark.parametrize(("continued", "said"), [(True, ["discard"]), (False, ["delta", "done"])])
@pytest.mark.parametrize("answered", [True, False])
def test_a_worker_begins_anew(execute: Execute, answered: bool, continued: bool, said: list[str]) -> None:
    source = "def run(run):\n    run.discard()\n    if run.earlier: run.confirm('?')\n    yield 'anew'"
    question = {"id": "m1", "role": "assistant", "type": "confirmation", "content": "?"}
    before = {"earlier": [question], "answers": [{"confirmation_id": "1", "answer": "go"}]}
    executed = execute(source, continued=continued, **(before if answered else {}))
    assert [one["type"] for one in executed.end()] == said
