"""Sub-runs in the SDK: what a process says to its pool, and what it makes of the answers."""

from __future__ import annotations

import json
from typing import Any

from tests.support.sdk_process import Execute

RUN = {"run": {"id": "r", "attempt": 1}, "messages": [{"role": "user", "content": "hi"}]}
CALLED = {"type": "called", "id": "echo#1", "run_id": "below"}


def message(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "type": "text", "channel": "answer", "content": content, **more}


def result(*messages: dict[str, Any], id: str = "echo#1", **more: Any) -> dict[str, Any]:
    ended = {"type": "result", "id": id, "run_id": "below", "status": "success", "usage": None, "error": None}
    return {**ended, "messages": list(messages), **more}


def question(text: str = "", id: str = "echo#1") -> dict[str, Any]:
    asked = {"id": "1", "prompt": "Shall I?", "options": ["yes"], "schema": None, "digest": "m1"}
    return {"type": "question", "id": id, "question": asked, "text": text}


def test_a_call_says_what_is_asked_and_its_result_is_what_the_pool_answers(execute: Execute) -> None:
    worker = execute(
        "def run(run):\n"
        "    call = run.call('echo', ['one', run.messages[0], {'content': 'x'}], config={'a': 1}, args=2)\n"
        "    yield f'{call.text}|{call.status}|{call.usage}|{call.error}|{len(call.messages)}'\n",
        **RUN,
    )
    asked = worker.next()
    worker.answer(CALLED)
    reasoning = message("hm", channel="reasoning")
    worker.answer(result(reasoning, message("a"), message("b"), usage={"tokens": 3}))

    said = worker.end()

    assert [m["content"] for m in asked.pop("messages")] == ["one", "hi", "x"]
    assert asked == {"type": "call", "id": "echo#1", "worker_id": "echo", "config": {"a": 1}, "args": 2}
    assert said[0]["text"] == "a\n\nb|success|{'tokens': 3}|None|3"


def test_a_call_that_is_iterated_over_gives_each_piece_once_and_what_was_missed_at_the_end(
    execute: Execute,
) -> None:
    worker = execute("def run(run):\n    for piece in run.call('echo'):\n        yield f'<{piece}>'\n", **RUN)
    assert [worker.next()["type"], worker.next()] == ["call", {"type": "follow", "id": "echo#1"}]
    worker.answer(CALLED)
    worker.answer({"type": "delta", "id": "echo#1", "text": "on"})
    assert worker.next()["text"] == "<on>"
    worker.answer(result(message("one two")))

    assert [event.get("text") for event in worker.end()] == ["<e two>", None]


def test_a_call_that_is_refused_fails_the_run(execute: Execute) -> None:
    worker = execute("def run(run):\n    return run.call('echo').text\n", **RUN)
    worker.next()
    worker.answer({"type": "refused", "of": "call", "id": "echo#1", "message": "it was something else"})

    [said] = worker.end()

    assert said["type"] == "error"
    assert "it was something else" in said["message"]


def test_calls_are_known_by_their_worker_and_number_or_by_their_id(execute: Execute) -> None:
    worker = execute(
        "def run(run):\n"
        "    calls = [run.call('echo'), run.call('other'), run.call('echo'), run.call('echo', id='mine')]\n"
        "    return ''.join(call.text for call in calls)\n",
        **RUN,
    )
    ids = [worker.next()["id"] for _ in range(4)]
    for id in reversed(ids):
        worker.answer(result(message(f"{id} "), id=id))

    assert ids == ["echo#1", "other#1", "echo#2", "mine"]
    assert worker.end()[0]["text"] == "echo#1 other#1 echo#2 mine "


def test_calls_are_awaited_together(execute: Execute) -> None:
    worker = execute(
        "import asyncio\n"
        "async def run(run):\n"
        "    ended = await asyncio.gather(*(run.call('echo', id=name) for name in 'abc'))\n"
        "    return ''.join(call.text for call in ended)\n",
        **RUN,
    )
    for _ in range(3):
        worker.next()
    for name in "cab":
        worker.answer(result(message(name), id=name))

    assert worker.end()[0]["text"] == "abc"


def test_a_cancelled_run_waits_no_longer_for_what_it_called(execute: Execute) -> None:
    worker = execute("def run(run):\n    return run.call('echo').text\n", **RUN)
    worker.next()
    worker.answer(CALLED)
    worker.answer({"type": "cancel"})

    assert worker.end() == []
    assert worker.code == 143


def test_a_call_within_a_step_is_an_error(execute: Execute) -> None:
    worker = execute("def run(run):\n    run.once('a', lambda: run.call('echo').text)\n", **RUN)

    [said] = worker.end()

    assert "a call within the step" in said["message"]


FORWARDS = "def run(run):\n    yield 'before '\n    yield from run.call('echo')\n    yield ' after'\n"


def test_a_question_of_a_sub_run_is_asked_by_its_caller_after_the_text_before_it(execute: Execute) -> None:
    worker = execute(FORWARDS, **RUN)
    assert [worker.next()["type"] for _ in range(3)] == ["delta", "call", "follow"]
    worker.answer(CALLED)
    worker.answer(question("one"))

    said = worker.end()

    assert said[0] == {"type": "delta", "text": "one"}
    assert said[1] == {
        "type": "confirm", "id": "echo#1/1", "prompt": "Shall I?", "options": ["yes"], "digest": "m1",
        "call": "below",
    }  # fmt: skip
    assert len(said) == 2


def test_after_the_answer_only_what_comes_after_the_question_is_said(execute: Execute) -> None:
    answers = [{"confirmation_id": "echo#1/1", "answer": "yes", "digest": "m1"}]
    worker = execute(FORWARDS, **RUN, answers=answers)
    assert [worker.next()["type"] for _ in range(2)] == ["call", "follow"]
    worker.answer(CALLED)
    worker.answer(question("one"))
    worker.answer({"type": "delta", "id": "echo#1", "text": "one\n\ntwo"})
    worker.answer(result(message("one"), message("two")))

    said = worker.end()

    assert "".join(event.get("text", "") for event in said) == "two after"
    assert json.dumps(said[-1]) == '{"type": "done"}'
