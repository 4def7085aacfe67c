"""The SDK: a worker's process looks into its inbox."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.sdk_process import Execute, Executed

PLAIN = """
    def run(run):
        for message in run.inbox():
            yield message.content
        yield repr(run.inbox.poll())
"""
ASYNC = """
    async def run(run):
        async for message in run.inbox():
            yield message.content
        yield repr(await run.inbox.poll_async())
"""
THREADED = """
    from concurrent.futures import ThreadPoolExecutor

    def run(run):
        with ThreadPoolExecutor(1) as pool:
            for message in pool.submit(lambda: list(run.inbox())).result():
                yield message.content
            yield repr(pool.submit(run.inbox.poll).result())
"""
SYNC_WITHIN_ASYNC = """
    async def run(run):
        for message in run.inbox():
            yield message.content
        yield repr(run.inbox.poll())
"""
NOTHING = {"type": "message", "id": None, "message": None}


def message(text: str) -> dict[str, Any]:
    return {"type": "message", "id": text, "message": {"id": text, "role": "user", "content": text}}


def answer(executed: Executed, *found: dict[str, Any], said: list[str]) -> None:
    """Answer each look with the next of these; collects what is said."""
    for one in found:
        while (line := executed.next()) != {"type": "inbox"}:
            said.append(line["text"])
        executed.answer(one)


@pytest.mark.parametrize("source", [PLAIN, ASYNC, THREADED, SYNC_WITHIN_ASYNC])
def test_a_worker_reads_what_has_arrived(execute: Execute, source: str) -> None:
    executed = execute(source)
    said: list[str] = []

    answer(executed, message("one"), message("two"), NOTHING, NOTHING, said=said)

    assert [*said, *(line.get("text") for line in executed.end())] == ["one", "two", "None", None]


@pytest.mark.parametrize("source", [PLAIN, ASYNC, THREADED])
def test_a_worker_is_cancelled_while_it_looks(execute: Execute, source: str) -> None:
    executed = execute(source)
    assert executed.next() == {"type": "inbox"}

    executed.answer({"type": "cancel"})
    if source == THREADED:  # the thread is let go by its answer
        executed.answer(NOTHING)

    assert executed.code == 143


def test_a_thread_gets_its_answer_though_the_signal_for_it_was_lost(execute: Execute) -> None:
    """As where it comes just before the main thread begins to wait for the thread."""
    no_signals = "__import__('fcntl').fcntl(run._wire._input, 8, 0)  # F_SETOWN: nobody"
    executed = execute(THREADED.replace("with Thr", f"{no_signals}\n        with Thr"))
    said: list[str] = []

    answer(executed, message("one"), NOTHING, NOTHING, said=said)

    assert [*said, *(line.get("text") for line in executed.end())] == ["one", "None", None]


def test_looks_before_an_answered_question_ask_for_what_was_read_before(execute: Execute) -> None:
    executed = execute(
        "def run(run):\n    run.inbox.poll()\n    run.confirm('Go on?')\n    run.inbox.poll()",
        answers=[{"confirmation_id": "1", "answer": "yes"}],
    )

    assert executed.next() == {"type": "inbox", "earlier": True}
    executed.answer(NOTHING)
    assert executed.next() == {"type": "inbox"}
