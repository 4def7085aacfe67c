"""runtime.sdk.testing: a worker is executed in a test as a pool would execute it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import settings
from runtime.child import protocol
from runtime.model import Run, RunStatus, utc_now
from runtime.pool.transcript import Transcript
from runtime.sdk import Cancelled, Failure
from runtime.sdk import Run as SdkRun
from runtime.sdk.testing import Result, execute
from runtime.sdk.testing import transcript as ours
from runtime.settings import CHECKOUT


def shout(run: SdkRun) -> Iterator[str]:
    for word in run.messages[-1].content.split():
        yield word.upper() + " "


async def shout_async(run: SdkRun) -> Any:
    for word in run.messages[-1].content.split():
        await asyncio.sleep(0)
        yield word.upper() + " "


def text_of(result: Result) -> list[tuple[str, str]]:
    return [(message.content, message.status) for message in result.messages]


@pytest.mark.parametrize("worker", [shout, shout_async])
def test_a_worker_answers(worker: Any) -> None:
    result = execute(worker, "one two")
    assert (result.status, result.text, result.error) == ("success", "ONE TWO ", None)
    assert result.events == [
        {"type": "delta", "text": "ONE "},
        {"type": "delta", "text": "TWO "},
        {"type": "done"},
    ]


def test_a_worker_answers_within_an_event_loop() -> None:
    before, loop = asyncio._get_running_loop(), asyncio.new_event_loop()
    asyncio._set_running_loop(loop)
    try:
        assert execute(shout_async, "one two").text == "ONE TWO "
        assert asyncio.get_running_loop() is loop
    finally:
        asyncio._set_running_loop(before)
        loop.close()


def test_a_worker_is_given_what_the_test_gives() -> None:
    def worker(run: SdkRun) -> str:
        run.state["turns"] = run.state.get("turns", 0) + 1
        told = [message.content for message in run.messages]
        return json.dumps([run.config, run.args, run.thread["title"], run.attempt, told])

    first = execute(worker, [{"role": "system", "content": "Be brief."}, "hi"], config={"a": 1}, args=[2])
    assert json.loads(first.text) == [{"a": 1}, [2], None, 1, ["Be brief.", "hi"]]
    second = execute(worker, [*first.messages, "more"], state=first.state, thread={"title": "T"})
    assert json.loads(second.text)[2:] == ["T", 1, [first.text, "more"]]
    assert second.state == {"turns": 2}


def test_a_folder_is_executed_by_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "worker.toml").write_text(
        'id = "near"\nname = "Near"\ntype = "python"\nentrypoint_path = "near.py"\nresume = "continue"\n'
    )
    (tmp_path / "beside.py").write_text("WORD = 'beside'\n")
    (tmp_path / "near.py").write_text(
        "import os\ncount = 0\ndef run(run):\n    global count\n    count += 1\n"
        "    from beside import WORD\n"
        "    yield f'{WORD} {count} '\n    yield os.path.exists('worker.toml')\n"
    )
    lost = execute(tmp_path, "hi", crash_after=1)
    assert [message.author for message in lost.messages] == ["near"]
    assert (lost.resume().status, lost.resume().text) == ("error", "beside 1 beside 1 ")
    assert lost.resume().error == ours.Error(
        "worker_error", "TypeError: a worker yields str or dict, not bool"
    )


def test_a_worker_of_another_type_is_refused(tmp_path: Path) -> None:
    (tmp_path / "worker.toml").write_text('type = "exec"\ncommand = ["true"]\n')
    with pytest.raises(ValueError, match="its type is 'exec'"):
        execute(tmp_path)


def test_a_failure_keeps_the_text_as_partial() -> None:
    def worker(run: SdkRun) -> Iterator[str]:
        yield "so far"
        raise Failure("The city is unknown.")

    result = execute(worker)
    assert (result.status, str(result.error), text_of(result)) == (
        "error", "The city is unknown.", [("so far", "partial")],
    )  # fmt: skip


def test_a_failure_for_the_moment_is_tried_again_as_often_as_allowed() -> None:
    def worker(run: SdkRun) -> str:
        raise Failure(f"Busy, {run.attempt}.", retryable=True)

    result = execute(worker, max_attempts=2)
    assert (result.status, str(result.error)) == ("queued", "Busy, 1.")
    again = result.resume()
    assert (again.status, str(again.error)) == ("error", "Busy, 2.")
    with pytest.raises(ValueError, match="no other attempt follows"):
        again.resume()


def test_an_answered_question_is_not_asked_again_and_what_was_said_is_skipped() -> None:
    calls: list[str] = []

    def worker(run: SdkRun) -> Iterator[str]:
        run.once("pay", calls.append, "paid")
        run.usage(tokens=1)
        yield "Before. "
        name = run.confirm("Name?", id="name")
        yield f"{name}, "
        yield run.confirm("Sure?", ["yes"])
        assert [message.content for message in run.earlier] == ["Before. ", "Name?", "Ada, ", "Sure?"]

    asked = execute(worker, answers={"name": "Ada"})
    assert asked.question is not None
    assert (asked.status, asked.attempt, asked.question.id) == ("waiting", 2, "2")
    done = asked.answer("yes")
    assert (done.status, done.attempt) == ("success", 3)
    assert text_of(done) == [(text, "complete") for text in ("Before. ", "Name?", "Ada, ", "Sure?", "yes")]
    assert done.messages[1].data["answer"] == "Ada"
    assert (calls, done.saved, done.usage) == (["paid"], {"pay": None}, {"tokens": 1})
    with pytest.raises(ValueError, match="waits for no answer"):
        done.answer("again")


def test_an_answer_to_another_question_fails_as_under_a_pool() -> None:
    prompts = iter(["Delete a?", "Delete b?"])
    asked = execute(lambda run: run.confirm(next(prompts)))
    assert str(asked.answer("yes").error) == "The question '1' asks something else than was answered."


def test_a_worker_that_does_not_come_back_to_its_question_fails() -> None:
    asked = execute(lambda run: run.confirm("Sure?") if run.attempt == 1 else "other")
    assert "did not reach its answered question '1' again" in str(asked.answer("yes").error)


def test_steps_are_taken_once_whatever_is_lost() -> None:
    calls: list[int] = []

    async def step(number: int) -> list[tuple[int]]:
        calls.append(number)
        return [(number,)]

    async def worker(run: SdkRun) -> Any:
        for number in range(3):
            yield str(await run.once(None, step, number))

    lost = execute(worker, crash_after=3)
    assert (lost.status, str(lost.error), lost.text) == ("queued", "Attempt 1 was lost.", "")
    assert lost.saved == {"step#1": [[0]], "step#2": [[1]]}
    again = lost.resume()
    assert (again.text, again.attempt, calls) == ("[[0]][[1]][[2]]", 2, [0, 1, 2])


def test_a_step_that_does_not_fit_what_was_saved_fails() -> None:
    lost = execute(lambda run: run.once("a", str, run.attempt), crash_after=1)
    assert str(lost.resume().error) == "The step 'a' was taken before with other arguments."


def test_too_much_is_not_saved() -> None:
    def worker(run: SdkRun) -> None:
        for _ in range(17):
            run.once(None, "".join, "x" * ((1 << 20) - 2))

    result = execute(worker)
    assert "is not saved: a run may save 16 MiB" in str(result.error)


def continuing(run: SdkRun) -> Iterator[str]:
    said = "".join(message.content for message in run.open)
    for word in ["one", "two", "three", ""][len(said.split()) :]:
        yield f"{word} " if word else ""


@pytest.mark.parametrize("lines", range(4))
def test_a_worker_goes_on_with_a_lost_attempt(lines: int) -> None:
    lost = execute(continuing, resume="continue", crash_after=lines)
    if lost.status == "queued":
        assert text_of(lost) == ([(lost.text, "partial")] if lines else [])
        assert len(lost.resume().events) == 4 - lines
        lost = lost.resume()
    assert text_of(lost) == [("one two three ", "complete")]


def test_a_worker_may_begin_anew_where_it_cannot_go_on() -> None:
    def worker(run: SdkRun) -> Iterator[str]:
        run.message("kept")
        run.confirm("?")
        if run.attempt > 3:
            assert [m.content for m in run.earlier] == ["kept", "?"]
        run.discard()
        run.message(f"whole {run.attempt}")
        with run.start(channel="reasoning") as thought:
            thought.delta("hm")
        yield f"text {run.attempt}"

    lost = execute(worker, answers={"1": "go"}, resume="continue")
    assert lost.text == "kept\n\nwhole 2\n\ntext 2"
    lost = execute(worker, resume="continue").answer("go", crash_after=3)
    assert text_of(lost) == [
        ("kept", "complete"),
        ("?", "complete"),
        ("whole 2", "complete"),
        ("hm", "partial"),
    ]
    assert (lost.resume().attempt, lost.resume().text) == (4, "kept\n\nwhole 4\n\ntext 4")


def test_a_worker_may_begin_anew_before_it_has_come_to_its_answered_question() -> None:
    def worker(run: SdkRun) -> Iterator[str]:
        run.discard()
        run.message("kept")
        yield f"{run.confirm('?')} {run.attempt}"

    lost = execute(worker, resume="continue").answer("go", crash_after=1)
    assert text_of(lost) == [("kept", "complete"), ("?", "complete"), ("go 2", "partial")]
    done = lost.resume()
    assert (done.status, done.text) == ("success", "kept\n\ngo 4"), done.error


@pytest.mark.parametrize("sync", [True, False])
def test_a_cancelled_worker_cleans_up_and_keeps_its_state(sync: bool) -> None:
    def worker(run: SdkRun) -> Iterator[str]:
        with run.tool("wait") as tool:
            try:
                yield "never ends"
                yield "no"
            finally:
                run.state["cleaned"] = run.cancelled
        tool.result(1)

    async def async_worker(run: SdkRun) -> Any:
        async with run.tool("wait"):
            try:
                yield "never ends"
                await asyncio.sleep(60)
            finally:
                run.state["cleaned"] = run.cancelled

    before = signal.getsignal(signal.SIGTERM)
    result = execute(worker if sync else async_worker, cancel_after=2)
    assert (result.status, result.error, result.state) == ("cancelled", None, {"cleaned": True})
    assert result.messages[-1].data["result"] == "Cancelled."
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_may_be_cancelled_before_it_begins_and_not_after_its_end() -> None:
    assert execute(shout, "hi", cancel_after=0).events == []
    assert execute(shout, "hi", cancel_after=2).status == "success"
    assert execute(shout, "hi", crash_after=2).status == "success"


def test_a_thread_that_writes_does_not_end_the_worker_by_itself() -> None:
    raised: list[BaseException] = []

    def worker(run: SdkRun) -> Iterator[str]:
        def write() -> None:
            try:
                run.delta("from a thread")
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
        try:
            yield "main"
        except Cancelled:
            raised.append(Cancelled())
            raise

    assert execute(worker, cancel_after=1).status == "cancelled"
    assert [type(error) for error in raised] == [Cancelled]


def test_a_process_that_is_dead_says_nothing_more() -> None:
    def worker(run: SdkRun) -> Iterator[str]:
        try:
            yield "a"
        finally:
            run.message("last words")

    lost = execute(worker, crash_after=1, max_attempts=1)
    assert (lost.status, lost.events) == ("error", [{"type": "delta", "text": "a"}])


def test_an_async_worker_dies_in_a_group_of_tasks() -> None:
    async def worker(run: SdkRun) -> None:
        async def say(text: str) -> None:
            await asyncio.sleep(0)
            run.message(text)

        async with asyncio.TaskGroup() as group:
            group.create_task(say("a"))
            group.create_task(say("b"))

    assert execute(worker, crash_after=1).resume().text == "a\n\nb"


def test_too_much_output_fails_the_run() -> None:
    def worker(run: SdkRun) -> Iterator[str]:
        while True:
            yield "x" * (1 << 20)

    result = execute(worker)
    assert result.error is not None
    assert (result.status, result.error.code) == ("error", "output_too_large")
    assert len(result.text) == 8 << 20


def test_an_event_that_is_not_of_the_protocol_is_ignored_and_said() -> None:
    def worker(run: SdkRun) -> Iterator[Any]:
        yield {"type": "delta", "ref": "x", "text": "a"}

    result = execute(worker)
    assert (result.status, result.messages) == ("success", [])
    assert result.log.splitlines() == [
        "[branchline] ignored an event of the worker: no message 'x' is open; send start first",
    ]


# ── the same transcript as the pool's ───────────────────────────────────────

_TEXTS = st.sampled_from(["", "a", "ä\0", "\ud83d", "\ude00", "x\ud83d", "hello"])
_REFS = st.sampled_from([None, "1", "2", "", 3])
_DATA = st.sampled_from([None, {}, {"a": [1, "\ud83d"]}, {"b": 1 << 63}, {"b": -1.5}, [], {"c": {"d": None}}])
_VALUES = {
    "ref": _REFS,
    "text": _TEXTS | st.just(1),
    "content": _TEXTS,
    "role": st.sampled_from([None, "user", "tool", "boss", 1]),
    "message_type": st.sampled_from([None, "text", "code", "poem"]),
    "channel": st.sampled_from([None, "answer", "reasoning", "x"]),
    "author": st.sampled_from([None, "me", "x" * 201, ""]),
    "data": _DATA,
    "usage": _DATA,
    "schema": _DATA,
    "description": _TEXTS,
    "id": st.sampled_from(["1", "2", None]),
    "prompt": _TEXTS,
    "options": st.sampled_from([None, [], ["yes", "\ud83d"], [1], "yes"]),
    "digest": st.sampled_from([None, "d", "e"]),
    "key": st.sampled_from(["a", "b", "\0", None]),
    "value": _DATA,
    "continues": st.sampled_from([None, "x"]),
    "message": _TEXTS,
    "retryable": st.sampled_from([True, False, 1]),
    "tokens": st.sampled_from([1, 2.5, "x"]),
}
_FIELDS = {
    "delta": "ref text",
    "start": "ref role message_type channel author data continues",
    "end": "ref data",
    "message": "content role message_type channel author data",
    "step": "description",
    "usage": "tokens data",
    "confirm": "id prompt options schema digest",
    "save": "key value digest usage",
    "state": "value",
    "discard": "",
    "done": "",
    "error": "message retryable",
    "unknown": "",
}
_EVENT = st.sampled_from(sorted(_FIELDS)).flatmap(
    lambda kind: st.fixed_dictionaries(
        {"type": st.just(kind)}, optional={name: _VALUES[name] for name in _FIELDS[kind].split()}
    )
)
_EVENTS = st.lists(_EVENT | st.just({}), max_size=12)
_SETTINGS = settings.load({"BRANCHLINE_HOME": "home"})
_SHOWN = ("role", "type", "channel", "author", "content", "data", "status")


def pool_says(lines: list[bytes]) -> list[Any]:
    """What a pool makes of the lines; each save is committed by nobody, and compared as it is decoded."""
    run = Run(
        **dict.fromkeys(("id", "thread_id", "workspace_id", "user_id", "input_state_id"), "i"),
        **dict.fromkeys(("output_state_id", "worker_digest", "pool"), "i"),
        worker_id="w", parent_run_id=None, config={}, args=None, status=RunStatus.RUNNING, attempt=1,
        failures=0, max_attempts=3, timeout_seconds=1, priority=0, created_at=utc_now(),
        answers=({"confirmation_id": "1", "answer": "yes", "digest": "d", "attempt": 0},),
    )  # fmt: skip
    transcript = Transcript(run, 0, _SETTINGS.run)
    decoder = protocol.Decoder()
    saves: list[Any] = []
    for line in lines:
        for event in decoder.feed(line):
            if isinstance(event, protocol.Save):
                saves.append((event.key, event.value, event.digest))
            elif isinstance(event, protocol.Refused):
                saves.append((event.key, event.reason))
            else:
                transcript.apply([event])
    transcript.apply(decoder.end())
    messages = transcript.close("partial")  # type: ignore[arg-type]
    shown = [[message.encode()[name] for name in _SHOWN] for message in messages]
    result = transcript.result
    error = [result.error.message, result.error.retryable] if result and result.error else None
    asked = (
        result and result.confirmation and {k: result.confirmation[k] for k in ("id", "prompt", "options")}
    )
    return [
        sorted(shown, key=str), dict(transcript.usage or {}), transcript.data, error, asked, saves,
        transcript.log.text(), bool(result and result.discarded),
    ]  # fmt: skip


def this_says(lines: list[bytes]) -> list[Any]:
    saves: list[Any] = []

    class Recording(ours.Transcript):
        def _save(self, event: Any) -> Any:
            saves.append((event.key, event.value, event.digest))

    transcript = Recording(1, "w", {"1": "d"}, [], {}, {})
    for line in lines:
        if answer := transcript.receive(line):
            saves.append((answer["key"], answer["message"]))
    transcript.close("partial")
    shown = [[message.fields()[name] for name in _SHOWN] for message in transcript.messages]
    error = [transcript.error.message, transcript.error.retryable] if transcript.error else None
    question = transcript.question
    asked = question and {"id": question.id, "prompt": question.prompt, "options": question.options}
    return [
        sorted(shown, key=str), transcript.usage, transcript.state, error, asked, saves,
        transcript.log, transcript.ended == "discard",
    ]  # fmt: skip


@given(events=_EVENTS)
def test_lines_become_what_a_pool_makes_of_them(events: list[Any]) -> None:
    lines = [json.dumps(event).encode() + b"\n" for event in events]
    assert this_says(lines) == pool_says(lines)


# ── the documents ───────────────────────────────────────────────────────────


def blocks(page: str, section: str) -> list[str]:
    """The blocks of code in a section of a page."""
    text = (CHECKOUT / "docs" / page).read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_documents_are_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in blocks("how-to/write-a-worker.md", "In Python"):
        if block.startswith("# workers/"):
            file = tmp_path / block.partition("\n")[0].removeprefix("# ")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block)
    monkeypatch.chdir(tmp_path)
    examples = blocks("reference/sdk.md", "Tests")
    names: dict[str, Any] = {}
    for example in examples:
        exec(example, names)  # noqa: S102 - it is ours
    tests = [name for name in names if name.startswith("test_")]
    assert len(tests) == len(examples) > 2
    for name in tests:
        names[name]()
