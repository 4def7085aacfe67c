"""The contract of launchers and children: one worker, written for each type, behaves the same."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.child import Child, Children, protocol
from runtime.child.launchers import LAUNCHERS
from runtime.registry import Worker, WorkerType, load
from tests.support.worker_service import WorkerService

WITHIN = 60.0
"""Seconds that anything may take on a busy machine."""
ENVIRON = {"BRANCHLINE_RUN_TOKEN": "t0ken", "BRANCHLINE_API_URL": "http://api"}

PYTHON = """
    import os, time

    def run(run):
        yield os.environ["BRANCHLINE_RUN_ID"] + " " + run.config["text"]
        while run.config["hang"]:
            time.sleep(0.01)
    """
EXEC = """
    import json, os, sys

    config = json.loads(sys.stdin.readline())["config"]
    text = os.environ["BRANCHLINE_RUN_ID"] + " " + config["text"]
    print(json.dumps({"type": "delta", "text": text}), flush=True)
    if config["hang"]:
        sys.stdin.readline()
    else:
        print(json.dumps({"type": "done"}))
    """
NODE = """
    import { createInterface } from "node:readline";
    const emit = (event) => process.stdout.write(JSON.stringify(event) + "\\n");
    const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
    const { config } = JSON.parse((await lines.next()).value);
    emit({ type: "delta", text: `${process.env.BRANCHLINE_RUN_ID} ${config.text}` });
    if (config.hang) await lines.next();
    else emit({ type: "done" });
    process.stdin.destroy();
    """


def answer(body: dict[str, Any], headers: dict[str, str]) -> Iterator[bytes]:
    """The same worker as a web service."""
    text = f"{headers['X-Branchline-Run-Id']} {body['config']['text']}"
    yield json.dumps({"type": "delta", "text": text}).encode() + b"\n"
    while body["config"]["hang"]:
        time.sleep(0.01)
        yield b"\n"
    yield b'{"type":"done"}\n'


@pytest.fixture(params=[type for type in WorkerType if type is not WorkerType.REMOTE])
def worker(request: pytest.FixtureRequest, tmp_path: Path, service: WorkerService) -> Worker:
    """The worker, as one of each type."""
    type: WorkerType = request.param
    if type is WorkerType.NODE and shutil.which("node") is None:
        pytest.skip("needs Node.js")
    service.answer = answer
    manifest, source = {
        WorkerType.PYTHON: ('entrypoint_path = "code.py"', PYTHON),
        WorkerType.NODE: ('entrypoint_path = "code.mjs"', NODE),
        WorkerType.EXEC: (f'command = ["{sys.executable}", "code.py"]', EXEC),
        WorkerType.HTTP: (f'url = "{service.url}"', ""),
    }[type]
    (tmp_path / "worker.toml").write_text(f'id = "w"\nname = "W"\ntype = "{type}"\n{manifest}\n')
    (tmp_path / ("code.mjs" if type is WorkerType.NODE else "code.py")).write_text(textwrap.dedent(source))
    return load(tmp_path)


def run_line(text: str = "hello", hang: bool = False) -> bytes:
    line = {"type": "run", "protocol": 1, "run": {"id": "r1"}, "config": {"text": text, "hang": hang}}
    return json.dumps(line).encode() + b"\n"


def start(children: Children, worker: Worker, line: bytes = b"") -> Child:
    return children.start(worker, run_id="r1", environ=ENVIRON, line=line)


def read_all(child: Child) -> list[protocol.WorkerEvent]:
    decoder, events = protocol.Decoder(), []
    while chunk := child.read():
        events += decoder.feed(chunk)
    return [*events, *decoder.end()]


def read_until_text(child: Child) -> None:
    decoder = protocol.Decoder()
    while not any(isinstance(event, protocol.Delta) for event in decoder.feed(child.read())):
        pass


def hanging(children: Children, worker: Worker) -> Child:
    child = start(children, worker, run_line(hang=True))
    read_until_text(child)
    return child


def test_every_worker_type_has_a_launcher() -> None:
    assert set(LAUNCHERS) == set(WorkerType)


def test_a_child_answers_a_run_that_is_sent_after_its_start(children: Children, worker: Worker) -> None:
    child = start(children, worker)
    child.send(run_line("a text"))

    assert read_all(child) == [protocol.Delta(None, "r1 a text"), protocol.Done()]
    assert child.wait(WITHIN) == 0
    assert not child.oom_killed
    child.close()


def test_a_child_answers_a_run_that_is_given_with_its_start(children: Children, worker: Worker) -> None:
    children.warm(worker)
    text = "é" * 100_000  # more than a pipe holds
    child = start(children, worker, run_line(text))

    assert "".join(e.text for e in read_all(child) if isinstance(e, protocol.Delta)) == f"r1 {text}"
    assert child.wait(WITHIN) == 0


def test_a_child_has_a_pid_if_it_is_a_process(children: Children, worker: Worker) -> None:
    child = start(children, worker, run_line())

    assert (child.pid == 0) is (worker.type is WorkerType.HTTP)
    read_all(child)


def test_a_wait_for_a_living_child_ends_after_its_timeout(children: Children, worker: Worker) -> None:
    child = hanging(children, worker)

    assert child.wait(0.05) is None
    child.stop(0)


def cancel(child: Child) -> None:
    child.send(b'{"type":"cancel"}')


@pytest.mark.parametrize(
    "end",
    [cancel, lambda child: child.stop(WITHIN), lambda child: child.stop(0)],
    ids=["cancel line", "stop", "kill"],
)
def test_a_hanging_child_ends_when_asked_to(
    children: Children, worker: Worker, end: Callable[[Child], None]
) -> None:
    child = hanging(children, worker)

    end(child)

    assert child.wait(WITHIN) is not None
    assert not any(isinstance(event, protocol.Done | protocol.Failed) for event in read_all(child))


def test_a_child_that_has_ended_may_be_used_like_one_that_lives(children: Children, worker: Worker) -> None:
    child = start(children, worker, run_line())
    read_all(child)
    child.wait(WITHIN)

    child.send(b"late")
    child.stop(1)
    child.stop(0)
    assert child.read() == b""
    assert child.read_log() == b""
    child.close()
    child.close()
    assert child.wait(0) == 0
