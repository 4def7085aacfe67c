"""The SDK: workers of all shapes, executed by ``python -m runtime.sdk`` as an author would."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from runtime.settings import CHECKOUT
from tests.support.sdk_process import WITHIN, Execute, Executed

HELLO = [{"type": "delta", "text": "Hel"}, {"type": "delta", "text": "lo"}, {"type": "done"}]


@pytest.mark.parametrize(
    "source",
    [
        "def run(run):\n    yield 'Hel'\n    yield 'lo'",
        "async def run(run):\n    yield 'Hel'\n    yield 'lo'",
        "def run(run):\n    run.delta('Hel')\n    return 'lo'",
        "async def run(run):\n    run.delta('Hel')\n    return 'lo'",
        "def run(run):\n    return iter(['Hel', 'lo'])",
        "def run(run):\n    yield {'type': 'delta', 'text': 'Hel'}\n    yield None\n    yield 'lo'",
        "from runtime.sdk import worker\n@worker\ndef hello(run):\n    yield 'Hel'\n    yield 'lo'",
        "class W:\n    def __call__(self, run):\n        yield 'Hel'\n        yield 'lo'\nrun = W()",
    ],
    ids=["generator", "async generator", "function", "coroutine", "iterator", "events", "marked", "object"],
)
def test_a_worker_may_have_any_shape(execute: Execute, source: str) -> None:
    executed = execute(source)
    assert executed.end() == HELLO
    assert executed.code == 0


def test_a_worker_sees_its_run(execute: Execute) -> None:
    executed = execute(
        """
        def run(run):
            last = run.messages[-1]
            yield " ".join([run.id, run.thread_id, str(run.attempt), run.config["a"], run.args[0], last.role,
                            last.content, last.data["x"], last.type, run.earlier[0].content])
        """,
        run={"id": "r1", "thread_id": "t1", "attempt": 2},
        config={"a": "A"},
        args=["arg"],
        messages=[{"role": "user", "content": "hi", "type": "text", "data": {"x": "X"}}],
        earlier=[{"role": "assistant", "content": "before"}],
    )
    assert executed.end()[0]["text"] == "r1 t1 2 A arg user hi X text before"


def test_several_messages_may_be_written_at_once(execute: Execute) -> None:
    executed = execute(
        """
        def run(run):
            call = run.start(type="function", data={"name": "f"})
            with run.start(channel="reasoning") as thought:
                call.delta("{}")
                thought.delta("hm")
            call.end(data={"result": 1})
            call.end()
            run.message("3", role="tool", type="function", author="f")
        """
    )
    head = {"role": "assistant", "message_type": "text", "channel": "answer"}
    assert executed.end() == [
        {"type": "start", "ref": "1", **head, "message_type": "function", "data": {"name": "f"}},
        {"type": "start", "ref": "2", **head, "channel": "reasoning"},
        {"type": "delta", "ref": "1", "text": "{}"},
        {"type": "delta", "ref": "2", "text": "hm"},
        {"type": "end", "ref": "2"},
        {"type": "end", "ref": "1", "data": {"result": 1}},
        {"type": "message", "content": "3", "role": "tool", "message_type": "function", "channel": "answer",
         "author": "f"},
        {"type": "done"},
    ]  # fmt: skip


RETURNED = """
    def run(run):
        with run.tool("add", {"a": 1, "b": 2}) as tool:
            tool.result({"sum": 3})
"""
STREAMED = """
    async def run(run):
        async with run.tool("add") as tool:
            tool.arguments('{"a":')
            tool.arguments("1}")
"""
RAISED = """
    from runtime.sdk import Failure
    def run(run):
        try:
            with run.tool("add", call_id="a"):
                raise ValueError("no")
        except ValueError:
            with run.tool("add", {}) as tool:
                try:
                    tool.result(object())
                finally:
                    tool.result("busy", is_error=True)
"""


def called(*data: dict[str, Any], id: str = "call_cd_1", ref: str = "1", **start: Any) -> list[Any]:
    """The lines of a call, whose arguments are streamed; of the result, too, if its data is given."""
    head = {"message_type": "function", "channel": "answer"}
    names = {"name": "add", "call_id": id}
    return [
        {"type": "start", "ref": ref, "role": "assistant", **head, "data": {**names, **start}},
        *({"type": "delta", "ref": ref, "text": text} for text in ([] if start else ['{"a":', "1}"])),
        {"type": "end", "ref": ref},
        *(
            {"type": "message", "content": "", "role": "tool", **head, "data": {**names, **one}}
            for one in data
        ),
    ]


def test_a_call_is_written_with_its_arguments_and_its_result(execute: Execute) -> None:
    line = {"id": "ab-000000000000cd"}
    assert execute(RETURNED, run=line).end()[:-1] == called(
        {"result": {"sum": 3}}, id="call_0000000000cd_1", arguments={"a": 1, "b": 2}
    )
    assert execute(STREAMED, run={"id": "cd"}).end()[:-1] == called({"result": None})


def test_the_exception_that_ends_a_call_is_its_result_and_goes_on(execute: Execute) -> None:
    *said, error = execute(RAISED, run={"id": "cd"}).end()
    start, end, result, *others = said
    assert start["data"] == {"name": "add", "call_id": "a"}
    assert end == {"type": "end", "ref": "1"}
    assert result["data"] == {**start["data"], "is_error": True, "result": "ValueError: no"}
    busy = {"is_error": True, "result": "busy"}
    assert others == called(busy, id="call_cd_2", ref="2", arguments={})
    assert error["message"] == "TypeError: Object of type object is not JSON serializable"


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_call_that_is_cancelled_says_so(execute: Execute, kind: str) -> None:
    source = """
        import asyncio, time
        async def run(run):
            async with run.tool("add", {"a": 1}):
                await asyncio.sleep(60)
        """
    if kind == "plain":
        source = source.replace("async ", "").replace("await asyncio", "time")
    executed = execute(source, run={"id": "cd"})
    lines = [executed.next()]
    executed.answer({"type": "cancel"})
    lines += executed.end()
    assert lines == called({"is_error": True, "result": "Cancelled."}, arguments={"a": 1})
    assert executed.code == 128 + signal.SIGTERM


def test_a_call_waits_for_an_answer_and_then_has_its_result(execute: Execute) -> None:
    source = """
        def run(run):
            with run.tool("add", {"a": 1}) as tool:
                tool.result(run.confirm("Sure?"))
        """
    start, asked = execute(source, run={"id": "cd"}).end()
    answers = [{"confirmation_id": "1", "answer": "yes", "digest": asked["digest"]}]
    assert (start["type"], asked["type"]) == ("start", "confirm")
    assert execute(source, run={"id": "cd"}, answers=answers).end() == [
        called({"result": "yes"}, arguments={})[-1],
        {"type": "done"},
    ]


def test_a_result_that_is_too_large_for_data_is_the_content(execute: Execute) -> None:
    executed = execute(
        """
        def run(run):
            for value in ("é" * (1 << 19), [0] * (1 << 19)):
                with run.tool("add", {}) as tool:
                    tool.result(value)
        """
    )
    text, numbers = (line for line in executed.end() if line["type"] == "message")
    assert text["content"] == "é" * (1 << 19)
    assert json.loads(numbers["content"]) == [0] * (1 << 19)
    assert "result" not in text["data"] and "result" not in numbers["data"]


def test_a_picture_travels_in_its_message(execute: Execute) -> None:
    executed = execute(
        """
        def run(run):
            run.image(bytes([1, 2, 3]), "A dot", media_type="image/webp")
        """
    )
    assert executed.end()[0] == {
        "type": "message", "content": "A dot", "role": "assistant", "message_type": "image",
        "channel": "answer", "data": {"url": "data:image/webp;base64,AQID"},
    }  # fmt: skip


def test_steps_and_usage_are_told(execute: Execute) -> None:
    executed = execute(
        "def run(run):\n    run.step('Look')\n    run.usage(input_tokens=3)\n    run.usage(cost=0.5)"
    )
    assert executed.end() == [
        {"type": "step", "description": "Look"},
        {"input_tokens": 3, "type": "usage"},
        {"cost": 0.5, "type": "usage"},
        {"type": "done"},
    ]


NESTED = """
    def run(run):
        with run.step("Research"):
            with run.step("Search"):
                pass
            try:
                with run.step("Read"):
                    run.step("Open")
                    raise ValueError
            except ValueError:
                pass
        run.step("Write")
        with run.step("Check"), run.step("Ask"):
            run.confirm("Sure?")
"""


@pytest.mark.parametrize(
    "source", [NESTED, NESTED.replace("def ", "async def ").replace("with ", "async with ")]
)
def test_a_step_ends_with_its_block_and_the_one_around_it_goes_on(execute: Execute, source: str) -> None:
    *steps, question = execute(source).end()
    assert [said["description"] for said in steps] == [
        "Research", "Search", "Research", "Read", "Open", "Research", "Write", "Check", "Ask"
    ]  # fmt: skip
    assert question["type"] == "confirm"


def test_lines_of_the_log_have_time_level_and_fields(execute: Execute) -> None:
    executed = execute(
        """
        import logging
        def run(run):
            run.log("found", pages=3, query="high tide", unit="m", at={"x": [1]}, message="", bad="a\\nb")
            run.log("several\\nlines", level="warning", why=ValueError("no"))
            logging.basicConfig(level="DEBUG", handlers=[run.log_handler()])
            logger = logging.getLogger("tides")
            logger.debug("looked at %d", 7)
            try:
                1 / 0
            except ZeroDivisionError:
                logger.critical("broken", exc_info=True)
            run.log("never", level="fatal")
        """
    )
    [said] = executed.end()
    assert said["message"] == (
        "ValueError: the level of a line is one of debug, info, warning, error, not 'fatal'"
    )
    lines = executed.log.splitlines()
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", lines[n][:24]) for n in (0, 1, 3, 4))
    assert [line[25:] for line in (lines[0], lines[1], lines[3], lines[4])] == [
        r'INFO    found pages=3 query="high tide" unit=m at={"x":[1]} message="" bad="a\nb"',
        'WARNING several why="no"',
        "DEBUG   looked at 7 logger=tides",
        "ERROR   broken logger=tides",
    ]
    assert lines[2] == "  lines"
    assert lines[5:7] == ["  Traceback (most recent call last):", lines[6]]
    assert lines[6].startswith("    File ")


@pytest.mark.parametrize(
    "text", ["\ud83d", "a\ud83d", "\udc00 b", 'é 😀 \u2028 \x00 \x1f " \\', "line\nbreak\r\n"]
)
def test_any_text_survives(execute: Execute, text: str) -> None:
    executed = execute("def run(run):\n    return run.args", args=text)
    assert executed.end()[0]["text"] == text


def test_print_and_input_do_not_touch_the_protocol(execute: Execute) -> None:
    executed = execute(
        """
        import os, sys
        print("while it is imported")
        def run(run):
            print("printed")
            os.system("echo from a program; cat")
            yield sys.stdin.read()
            yield "answer"
        """
    )
    assert executed.end() == [{"type": "delta", "text": "answer"}, {"type": "done"}]
    assert executed.log == "while it is imported\nprinted\nfrom a program\n"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("def run(run):\n    raise ValueError('no')", "ValueError: no"),
        ("async def run(run):\n    raise ValueError('no')", "ValueError: no"),
        ("def run(run):\n    yield 5", "TypeError: a worker yields str or dict, not int"),
        ("def run(run):\n    run.usage(x={1})", "TypeError: Object of type set is not JSON serializable"),
        ("from runtime.sdk import Failure\ndef run(run):\n    raise Failure('busy')", "busy"),
    ],
    ids=["raise", "raise async", "bad yield", "no JSON", "failure"],
)  # fmt: skip
def test_what_goes_wrong_is_told(execute: Execute, source: str, error: str) -> None:
    executed = execute(source)
    assert executed.end() == [{"type": "error", "message": error, "retryable": False}]
    assert executed.code == 1


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (
            "def run(run):\n    run.delta('a')\n    run.detla('b')",
            "AttributeError: 'Run' object has no attribute 'detla'; did you mean 'delta'? "
            "(worker_under_test.py, line 3)",
        ),
        (
            "def run(run):\n    yield 'a'\n    yield {'type': 'dleta', 'text': 'b'}",
            "there is no event of the type 'dleta'; did you mean 'delta'? (worker_under_test.py, line 3)",
        ),
        (
            "def more():\n    yield 'a'\n    yield {'type': 'dleta'}\ndef run(run):\n    yield from more()",
            "there is no event of the type 'dleta'; did you mean 'delta'? (worker_under_test.py, line 3)",
        ),
        (
            "async def run(run):\n    yield 'a'\n    yield {'type': 'stpe'}",
            "there is no event of the type 'stpe'; did you mean 'step'? (worker_under_test.py, line 3)",
        ),
        (
            "def run(run):\n    run.delta('a')\n    run.emit({'type': 'delta', 'txt': 'b'})",
            "an event of the type 'delta' needs 'text', not 'txt' (worker_under_test.py, line 3)",
        ),
        (
            "def run(run):\n    run.delta('a')\n    run.emit({'text': 'b'})",
            "an event needs a 'type' (worker_under_test.py, line 3)",
        ),
    ],
    ids=["method", "yielded", "yielded from", "yielded async", "field", "no type"],
)  # fmt: skip
def test_what_is_misspelt_is_an_error_with_its_line(execute: Execute, source: str, error: str) -> None:
    executed = execute(source)
    assert executed.end() == [
        {"type": "delta", "text": "a"},
        {"type": "error", "message": error, "retryable": False},
    ]


SHAPES = {
    "generator": """
        import time
        def run(run):
            try:
                yield "begun"
                while True:
                    time.sleep(0.02)
            finally:
                run.delta(f"handed back: {run.handed_back}")
        """,
    "async": """
        import asyncio
        async def run(run):
            try:
                run.delta("begun")
                await asyncio.sleep(600)
            finally:
                run.delta(f"handed back: {run.handed_back}")
        """,
    "async generator": """
        import asyncio
        async def run(run):
            try:
                yield "begun"
                await asyncio.sleep(600)
            finally:
                run.delta(f"handed back: {run.handed_back}")
        """,
    "busy": """
        def run(run):
            try:
                yield "begun"
                while True:
                    pass
            except BaseException:
                assert run.cancelled
                run.delta(f"handed back: {run.handed_back}")
                raise
        """,
    "waiting for a step": """
        def run(run):
            try:
                yield "begun"
                run.once("key", int)
            finally:
                run.delta(f"handed back: {run.handed_back}")
        """,
    "waiting for a step, async": """
        async def run(run):
            try:
                yield "begun"
                run.once("key", int)
            finally:
                run.delta(f"handed back: {run.handed_back}")
        """,
    "swallowing": """
        import time
        def run(run):
            try:
                run.delta("begun")
                while True:
                    try:
                        time.sleep(0.02)
                    except Exception:
                        pass
            finally:
                run.delta(f"handed back: {run.handed_back}")
        """,
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", ["cancel", "close", "SIGTERM", "twice", "timeout"])
def test_a_worker_is_stopped_wherever_it_is(execute: Execute, shape: str, way: str) -> None:
    executed = execute(SHAPES[shape])
    assert executed.next() == {"type": "delta", "text": "begun"}
    if "step" in shape:
        assert executed.next()["type"] == "save"
    if way == "close":
        executed.stdin.close()
    if way in ("cancel", "twice"):
        executed.stdin.write(b'\n{"type":"later"}\nnonsense\n{"type":"can')
        executed.stdin.flush()
        executed.stdin.write(b'cel"}\n')
        executed.stdin.flush()
    if way == "timeout":
        executed.answer({"type": "timeout"})
    if way in ("SIGTERM", "twice", "timeout"):
        os.kill(executed.process.pid, signal.SIGTERM)
    handed_back = way in ("close", "SIGTERM")
    assert executed.end() == [{"type": "delta", "text": f"handed back: {handed_back}"}]
    assert executed.code == 128 + signal.SIGTERM


def test_code_that_changes_twice_within_a_second_is_executed_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    second = time.time() + 60  # as good as now
    for answer in ("a", "b"):
        for name, source in (
            ("part.py", f"ANSWER = {answer!r}"),
            ("entry.py", f"import part\ndef run(run):\n    return part.ANSWER + {answer!r}"),
        ):
            (tmp_path / name).write_text(source)
            os.utime(tmp_path / name, (second, second))
        executed = Executed(tmp_path / "entry.py", {})
        assert executed.end()[0] == {"type": "delta", "text": answer * 2}
        executed.close()


def test_lines_stay_whole_when_a_flood_is_stopped(execute: Execute) -> None:
    executed = execute("def run(run):\n    while True:\n        yield 'x' * 3000")
    for _ in range(50):
        executed.next()
    os.kill(executed.process.pid, signal.SIGTERM)
    assert all(said == {"type": "delta", "text": "x" * 3000} for said in executed.end())
    assert executed.code == 128 + signal.SIGTERM


def test_threads_may_write_too(execute: Execute) -> None:
    executed = execute(
        """
        import threading
        def run(run):
            def write(number):
                with run.start() as message:
                    for _ in range(200):
                        message.delta(f"{number}" * 5000)
            threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
        """
    )
    said = executed.end()
    assert len(said) == 4 * 202 + 1


@pytest.mark.parametrize("changed", ["'Delete B?'", "'Delete A?', options=['a']", "'Delete A?', schema={}"])
def test_an_answer_is_not_taken_for_that_of_another_question(execute: Execute, changed: str) -> None:
    source = "def run(run):\n    yield run.confirm('Delete A?')"
    [asked] = execute(source).end()
    answers = [{"confirmation_id": "1", "answer": "yes", "digest": asked["digest"]}]

    assert execute(source, answers=answers).end() == [{"type": "delta", "text": "yes"}, {"type": "done"}]
    [said] = execute(source.replace("'Delete A?'", changed), answers=answers).end()
    assert said["message"] == "The question '1' asks something else than was answered."


ASKS_TWICE = """
    def run(run):
        yield "one "
        with run.start(channel="reasoning") as thought:
            thought.delta("hm")
        name = run.confirm("Name?")
        yield "two "
        sure = run.confirm("Sure?", options=["yes", "no"])
        yield f"{name} {sure}"
    """


def test_a_question_ends_the_process(execute: Execute) -> None:
    executed = execute(ASKS_TWICE)
    said = executed.end()
    assert said[0] == {"type": "delta", "text": "one "}
    assert said[-1] == {"type": "confirm", "id": "1", "prompt": "Name?", "options": [], "digest": ANY}
    assert executed.code == 0


def test_what_was_said_before_an_answered_question_is_left_out(execute: Execute) -> None:
    answers = [{"confirmation_id": "1", "answer": "Ada"}]
    assert execute(ASKS_TWICE, answers=answers).end() == [
        {"type": "delta", "text": "two "},
        {"type": "confirm", "id": "2", "prompt": "Sure?", "options": ["yes", "no"], "digest": ANY},
    ]
    answers.append({"confirmation_id": "2", "answer": "yes"})
    assert execute(ASKS_TWICE, answers=answers).end() == [
        {"type": "delta", "text": "Ada yes"},
        {"type": "done"},
    ]


def test_a_worker_that_does_not_come_back_to_its_question_fails(execute: Execute) -> None:
    executed = execute("def run(run):\n    yield 'other'", answers=[{"confirmation_id": "1", "answer": "x"}])
    (said,) = executed.end()
    assert said["type"] == "error" and "did not reach" in said["message"]


def test_a_worker_that_catches_everything_still_waits(execute: Execute) -> None:
    executed = execute(
        """
        def run(run):
            try:
                run.confirm("Sure?")
            except Exception:
                yield "swallowed"
            finally:
                run.delta("after")
        """
    )
    assert [said["type"] for said in executed.end()] == ["confirm"]


def test_a_pool_of_another_protocol_is_said(execute: Execute) -> None:
    executed = execute("def run(run):\n    yield 'answer'", protocol=2)
    [error] = executed.end()
    assert (error["type"], error["retryable"], executed.code) == ("error", False, 1)
    assert "SDK has version 1 of the protocol, and the pool that started it version 2." in error["message"]


def test_both_names_of_the_sdk_are_the_same(execute: Execute) -> None:
    executed = execute(
        """
        import branchline_sdk.testing, runtime.sdk.testing
        from branchline_sdk import Failure, Run
        from branchline_sdk.addresses import is_own
        import runtime.sdk as sdk

        def run(run):
            assert type(run) is Run and branchline_sdk is sdk
            assert branchline_sdk.testing is sdk.testing and sdk.__spec__.name == "runtime.sdk"
            raise Failure("busy", retryable=True)
        """
    )
    assert executed.end() == [{"type": "error", "message": "busy", "retryable": True}]


def test_an_input_without_a_run_is_told(tmp_path: Path) -> None:
    path = tmp_path / "w.py"
    path.write_text("def run(run): ...")
    command = [sys.executable, "-m", "runtime.sdk", str(path)]
    done = subprocess.run(command, cwd=CHECKOUT, input=b"", capture_output=True, timeout=WITHIN, check=False)
    assert done.returncode == 1
    assert b"before a run arrived" in done.stderr


def test_the_sdk_imports_the_standard_library_only_and_fast() -> None:
    script = (
        "import sys, time; t = time.process_time(); import runtime.sdk; took = time.process_time() - t;"
        "lazy = {f'runtime.sdk.{name}' for name in ('turns', 'formats', 'tools', 'logs', 'log_handler')};"
        "assert not lazy & {*sys.modules};"
        "print(took, *sorted({m.partition('.')[0] for m in sys.modules} - set(sys.stdlib_module_names)))"
    )
    command = [sys.executable, "-S", "-c", script]
    runs = [
        subprocess.check_output(command, cwd=CHECKOUT, text=True, timeout=WITHIN).split() for _ in range(3)
    ]
    assert {name for run in runs for name in run[1:]} <= {"__main__", "runtime"}
    assert min(float(run[0]) for run in runs) < 0.1
