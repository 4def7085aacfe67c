"""Children that are processes: what they are given, what they say, and how they end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime.child import Children, protocol
from runtime.child.child_process import ChildProcess
from runtime.errors import ChildFailed, OutputTooLarge
from runtime.registry import load
from runtime.testing.waiting import until
from tests.support.talk import (
    FAKE,
    REGISTRY,
    SHELL,
    WITHIN,
    Start,
    Talk,
    alive,
    host_of,
    linux,
    spare_of,
)


def test_a_child_emits_its_text_and_ends_with_done(start: Start) -> None:
    talk = start(text="Hi ", count=3).read_all()
    assert talk.text == "Hi Hi Hi "
    assert talk.events[-1] == protocol.Done()
    assert talk.child.wait(WITHIN) == 0


def test_echo_repeats_every_message_exactly(start: Start) -> None:
    text = "  two  spaces\n\nand lines\r\n\ttabs \u2028 separators 👩‍👩‍👧 done \n"
    for piece in ("character", "word", "line"):
        messages = [{"role": "user", "content": "not this"}, {"role": "user", "content": text}]
        talk = start(worker=REGISTRY.get("echo"), more={"messages": messages}, piece=piece).read_all()
        assert talk.text == text


def test_a_child_sees_its_run_and_nothing_of_the_pool(start: Start) -> None:
    seen = json.loads(start("environ").read_all().text)
    environ = seen["environ"]
    assert environ["BRANCHLINE_RUN_ID"] == "run-1"
    assert environ["BRANCHLINE_API_URL"] == "http://api"
    assert environ["FAKE_VARIABLE"] == "seen"
    assert environ["PATH"] == os.environ["PATH"]
    assert "SECRET" not in environ
    assert seen["folder"] == str(FAKE.folder)
    assert seen["session"] == seen["pid"]


def test_children_of_one_worker_do_not_see_each_other(children: Children, make_worker: Any) -> None:
    worker = make_worker(
        """
        import random
        seen = []
        def run(run):
            seen.append(run.id)
            return f"{len(seen)} {random.random()}"
        """
    )
    texts = []
    for number in range(3):
        child = children.start(worker, run_id=str(number), environ={})
        texts.append(Talk(child, {}).read_all().text)
    assert {text.split()[0] for text in texts} == {"1"}
    assert len({text.split()[1] for text in texts}) == 3


def test_no_run_of_a_forked_worker_imports_a_part_of_the_sdk_by_itself(
    children: Children, make_worker: Any
) -> None:
    worker = make_worker(
        """
        import sys
        def run(run):
            before = {*sys.modules}
            run.as_openai(), run.as_anthropic(), run.window(1), run.log("on")
            with run.tool("f"):
                pass
            yield repr({*sys.modules} - before)
        """
    )
    child = children.start(worker, run_id="r", environ={})
    assert Talk(child, {}).read_all().text == "set()"


def test_what_a_worker_prints_goes_to_the_log(start: Start) -> None:
    talk = start("noise", text="x").read_all()
    assert talk.text == "xx"
    assert talk.events[-1] == protocol.Done()
    log = talk.log
    assert "only printed" in log and "echoed by a program" in log


def test_garbage_goes_to_the_log_and_harms_nothing(start: Start) -> None:
    talk = start("garbage", text="x").read_all()
    assert talk.text == "xx"
    assert talk.events[-1] == protocol.Done()
    assert talk.logged.startswith("plain words\n")
    assert "\0" not in talk.logged
    assert "'nonsense'" in talk.logged


def test_an_exception_is_reported_and_its_traceback_is_logged(start: Start) -> None:
    talk = start("raise", text="before").read_all()
    assert talk.text == "before"
    assert talk.events[-1] == protocol.Failed("ValueError: as you asked", retryable=False)
    assert "Traceback" in talk.log
    assert talk.child.wait(WITHIN) == 1


def test_a_failure_is_reported_without_a_traceback(start: Start) -> None:
    talk = start("fail", retryable=True).read_all()
    assert talk.events[-1] == protocol.Failed("It did not work out.", retryable=True)
    assert "Traceback" not in talk.log


@pytest.mark.parametrize(
    ("mode", "code"),
    [("crash", 3), ("exit", 3), ("segfault", -signal.SIGSEGV), ("silent", 0), ("exit0_mid_message", 0)],
)
def test_the_exit_code_shows_how_a_child_ended(start: Start, mode: str, code: int) -> None:
    talk = start(mode, exit_code=3).read_all()
    assert talk.child.wait(WITHIN) == code
    assert not any(isinstance(event, protocol.Done | protocol.Failed) for event in talk.events)


def test_a_wait_for_a_living_child_ends_after_its_timeout(start: Start) -> None:
    talk = start("hang", text="there").until_text("there")
    assert talk.child.wait(0.05) is None


def test_a_hanging_child_ends_when_stopped(start: Start) -> None:
    talk = start("hang", text="there").until_text("there")
    talk.child.stop(WITHIN)
    assert talk.child.wait(0) == 128 + signal.SIGTERM
    assert talk.read_all().text == "there"


def test_a_stopped_worker_can_clean_up_and_emit_text(start: Start) -> None:
    talk = start("clean_up", text="a ").until_text("a ")
    talk.child.stop(WITHIN)
    assert talk.read_all().text == "a cleaned up"


def test_the_cancel_line_stops_a_worker(start: Start) -> None:
    talk = start("clean_up", text="a ").until_text("a ")
    talk.child.send(b'{"type":"cancel"}')
    assert talk.read_all().text == "a cleaned up"
    assert talk.child.wait(WITHIN) == 128 + signal.SIGTERM


def test_the_end_of_stdin_stops_a_worker(start: Start) -> None:
    talk = start("clean_up", text="a ").until_text("a ")
    assert isinstance(talk.child, ChildProcess)
    talk.child._stdin.close()  # nothing public closes it alone, but the death of a pool does
    assert talk.read_all().text == "a cleaned up"


def test_a_child_that_ignores_sigterm_is_killed_when_stopped(start: Start) -> None:
    talk = start("ignore_term", text="there").until_text("there")
    talk.child.stop(0.05)
    assert talk.child.wait(0) == -signal.SIGKILL


@pytest.mark.parametrize("threads", [0, 1], ids=["forked", "command"])
def test_a_python_worker_that_hangs_shows_where(children: Children, make_worker: Any, threads: int) -> None:
    worker = make_worker(
        f"""
        import sys, threading, time
        for _ in range({threads}):  # with one of them it cannot be forked
            threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
        def run(run):
            print("here", file=sys.stderr, flush=True)
            time.sleep(3600)
        """
    )
    talk = Talk(children.start(worker, run_id="r", environ={}), {})
    assert talk.child.read_log() == b"here\n"
    talk.child.show_stack()
    talk.child.stop(5)
    assert "most recent call first" in (log := talk.log)
    assert re.search(r"made.py\", line \d+ in run", log)


def test_a_child_that_is_no_python_worker_is_left_alone(start: Start) -> None:
    talk = start(worker=SHELL, hang=True).until_text("a shell.")
    talk.child.show_stack()
    talk.child.send(b'{"type":"cancel"}')
    assert talk.read_all().text.endswith("Stopped.")


def test_a_child_can_be_stopped_twice_and_after_its_end(start: Start) -> None:
    talk = start().read_all()
    talk.child.wait(WITHIN)
    talk.child.stop(1)
    talk.child.stop(0)
    talk.child.send(b"late")
    talk.child.close()
    assert talk.child.read() == b""


@linux
@pytest.mark.parametrize("grace", [0, 0.2])
def test_programs_that_a_worker_started_end_with_it(start: Start, grace: float, tmp_path: Path) -> None:
    talk = start("child", path=str(tmp_path / "pid"))
    until(lambda: talk.read_more() and talk.text != "", what="a pid")
    pid = int(talk.text)
    assert alive(pid)
    talk.child.stop(grace)
    until(lambda: not alive(pid), what="the end of the program")


@linux
def test_a_daemonised_grandchild_ends_with_the_run(start: Start) -> None:
    talk = start("daemon").read_all()  # its pipes would stay open if the grandchild lived on
    assert talk.child.wait(WITHIN) == 0
    until(lambda: not alive(int(talk.text)), what="the end of the grandchild")


@linux
def test_the_end_of_one_run_leaves_the_processes_of_others_alone(start: Start) -> None:
    staying = start("child")
    until(lambda: staying.read_more() and staying.text != "", what="a pid")
    for _ in range(3):
        start("daemon").read_all().child.wait(WITHIN)
    assert alive(int(staying.text)) and staying.child.wait(0) is None


@linux
def test_programs_that_a_worker_starts_have_none_of_its_pipes(children: Children, make_worker: Any) -> None:
    worker = make_worker(
        """
        import subprocess
        def run(run):
            listed = ["ls", "-l", "/proc/self/fd"]
            return subprocess.run(listed, close_fds=False, capture_output=True, text=True).stdout
        """
    )
    for _ in range(2):  # a fork of its own, and the spare
        child = children.start(worker, run_id="r", environ={})
        text = Talk(child, {}).read_all().text
        assert text.count("pipe:") == 2 and "socket:" not in text, text  # those that subprocess made
        spare_of(host_of(children, worker))


def test_a_closed_stdout_is_the_end_of_what_is_read_but_not_of_the_child(start: Start) -> None:
    talk = start("close_stdout_and_sleep", text="x").read_all()
    assert talk.text == "x"
    assert talk.child.wait(0.05) is None


def test_a_flood_arrives_completely_and_fast(start: Start) -> None:
    talk = start("flood", text="word ", count=100_000)
    before = time.monotonic()
    talk.read_all()
    assert talk.text == "word " * 100_000
    assert talk.events[-1] == protocol.Done()
    assert time.monotonic() - before < 20


def test_a_child_that_nobody_reads_waits_and_goes_on_when_read(start: Start) -> None:
    talk = start("flood", text="word ", count=50_000)
    assert talk.child.wait(0.3) is None
    assert talk.read_all().text == "word " * 50_000


def test_a_line_without_an_end_is_cut_short(start: Start) -> None:
    talk = start("big_line", size=20 << 20)
    with pytest.raises(OutputTooLarge):
        talk.read_all()
    talk.child.stop(0)


def test_a_run_larger_than_the_pipe_is_sent_without_waiting(start: Start) -> None:
    messages = [{"role": "user", "content": "é" * 3_000_000}]
    talk = start(worker=REGISTRY.get("echo"), more={"messages": messages}, piece="line").read_all()
    assert talk.text == messages[0]["content"]


def test_a_send_never_waits_when_the_child_does_not_read(start: Start) -> None:
    talk = start("ignore_term", text="there").until_text("there")
    before = time.monotonic()
    for _ in range(50):
        talk.child.send(b"x" * 100_000)
    assert time.monotonic() - before < 10  # else for as long as the child lives
    assert talk.child.wait(0.05) is None
    talk.child.stop(0)


def test_many_children_run_at_once(start: Start) -> None:
    talks = [start(text=f"{number} ", count=20) for number in range(50)]
    threads = [threading.Thread(target=talk.read_all) for talk in talks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WITHIN)
    assert [talk.text for talk in talks] == [f"{number} " * 20 for number in range(50)]
    assert [talk.child.wait(WITHIN) for talk in talks] == [0] * 50


def test_no_descriptor_is_left_open_after_a_child(start: Start) -> None:
    start().read_all().child.wait(WITHIN)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        talk = start().read_all()
        assert talk.log == ""
        talk.child.wait(WITHIN)
        talk.child.stop(0)
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_command_speaks_the_protocol(start: Start) -> None:
    talk = start(worker=SHELL).read_all()
    assert talk.text == "Hello from a shell."
    assert talk.events[0] == protocol.Step("Reading the run")
    assert protocol.Log("this line is for the log\n") in talk.events
    assert talk.events[-1] == protocol.Done()
    assert talk.log == "shell: run run-1\n"


def test_a_command_gets_the_cancel_line_when_its_run_is_cancelled(start: Start) -> None:
    talk = start(worker=SHELL, hang=True).until_text("a shell.")
    talk.child.send(b'{"type":"cancel"}')
    assert talk.read_all().text == "Hello from a shell. Stopped."


def test_a_start_fails_when_the_command_does_not_exist(start: Start) -> None:
    missing = replace(SHELL, command=("no-such-program-here",))
    with pytest.raises(ChildFailed, match="'no-such-program-here' was not found"):
        start(worker=missing)


def test_a_command_that_cannot_be_executed_logs_why(start: Start, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("neither a script nor a program")
    program.chmod(0o755)
    talk = start(worker=replace(SHELL, command=(str(program),))).read_all()
    assert talk.child.wait(WITHIN) == 126
    assert "could not be executed" in talk.log


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_a_node_worker_speaks_the_protocol(start: Start, tmp_path: Path) -> None:
    (tmp_path / "worker.toml").write_text('id = "n"\nname = "N"\ntype = "node"\nentrypoint_path = "n.mjs"\n')
    (tmp_path / "n.mjs").write_text(
        """
        import { createInterface } from "node:readline";
        const say = (event) => process.stdout.write(JSON.stringify(event) + "\\n");
        for await (const line of createInterface({ input: process.stdin })) {
            const { config } = JSON.parse(line);
            for (const unit of config.text) say({ type: "delta", text: unit });
            for (const half of config.text.split("")) say({ type: "delta", text: half });
            say({ type: "done" });
            break;
        }
        process.exit(0);
        """
    )
    talk = start(worker=load(tmp_path), text="é😀").read_all()
    assert talk.text == "é😀é😀"
    assert talk.events[-1] == protocol.Done()


def test_a_child_has_the_limits_of_its_worker(start: Start) -> None:
    limits = replace(SHELL.limits, open_files=77, memory_bytes=1 << 30)
    worker = replace(SHELL, command=("/bin/sh", "-c", "ulimit -n; ulimit -d"), limits=limits)
    talk = start(worker=worker).read_all()
    assert talk.logged == f"77\n{(1 << 30) // 1024}\n"


def test_children_yield_to_the_pool_when_the_processors_are_busy(start: Start) -> None:
    talk = start(worker=replace(SHELL, command=("/bin/sh", "-c", "nice"))).read_all()
    assert int(talk.logged) == min(os.nice(0) + 5, 19)
