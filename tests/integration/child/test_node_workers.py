"""Workers in JavaScript and TypeScript, and the process that is started before there is a run."""

from __future__ import annotations

import json
import os
import shutil
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runtime.child import Child, Children
from runtime.child.launchers import node as node_launcher
from runtime.errors import ChildFailed
from runtime.registry import Worker, WorkerType, load, node
from runtime.testing.waiting import until

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")

WITHIN = 60.0
"""Seconds that anything may take on a busy machine."""
ENVIRON = {"BRANCHLINE_RUN_TOKEN": "t0ken", "BRANCHLINE_API_URL": "http://api"}
_ECHO = """
    console.log("loaded");

    export default function* run(run) {
      yield `${process.env.BRANCHLINE_RUN_ID} ${process.pid} ${run.messages.at(-1).content}`;
    }
    """


def write(folder: Path, source: str, name: str = "code.js") -> Worker:
    (folder / "worker.toml").write_text(f'id = "w"\nname = "W"\ntype = "node"\nentrypoint_path = "{name}"\n')
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / name).write_text(textwrap.dedent(source))
    return load(folder)


def start(children: Children, worker: Worker, **fields: Any) -> Child:
    run = {"id": "r1", "thread_id": "t1", "attempt": 1}
    line = {
        "type": "run",
        "protocol": 1,
        "run": run,
        "messages": [{"role": "user", "content": "hi"}],
        **fields,
    }
    return children.start(worker, run_id="r1", environ=ENVIRON, line=json.dumps(line).encode() + b"\n")


def read(child: Child) -> list[dict[str, Any]]:
    """What the child has said when it ends."""
    said = b""
    while chunk := child.read():
        said += chunk
    assert child.wait(WITHIN) is not None
    return [json.loads(line) for line in said.splitlines()]


def text(events: list[dict[str, Any]]) -> str:
    return "".join(event["text"] for event in events if event["type"] == "delta")


def launcher_of(children: Children) -> node_launcher.NodeLauncher:
    launcher = children._launchers[WorkerType.NODE]
    assert isinstance(launcher, node_launcher.NodeLauncher)
    return launcher


def spare_of(children: Children, worker: Worker) -> Child:
    """The process that waits for the worker's next run."""
    [first, *_] = until(lambda: list(children.hosts.for_worker(worker).spares), WITHIN, "a spare")
    return first


class Clock:
    """What the launcher takes for ``time``: a clock that can be put forward."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self._ahead

    def sleep(self, seconds: float) -> None:
        end = self.monotonic() + seconds
        until(lambda: self.monotonic() >= end, 2 * seconds + WITHIN, "the time has passed")

    def put_forward(self, seconds: float) -> None:
        self._ahead += seconds


def test_a_node_worker_finds_the_package_wherever_it_is(children: Children, tmp_path: Path) -> None:
    source = """
        import { Failure } from "branchline";
        export default async function run(run) {
          run.delta("so far");
          throw new Failure("The city is unknown.", { retryable: true });
        }
        """
    child = start(children, write(tmp_path, source))

    assert read(child) == [
        {"type": "delta", "text": "so far"},
        {"type": "error", "message": "The city is unknown.", "retryable": True},
    ]
    assert child.read_log() == b"failed: The city is unknown.\n"


def test_a_warmed_worker_has_a_process_that_becomes_the_next_run(children: Children, tmp_path: Path) -> None:
    worker = write(tmp_path, _ECHO)
    children.warm(worker)
    first = spare_of(children, worker)

    child = start(children, worker)

    assert child is first
    assert text(read(child)) == f"r1 {child.pid} hi"
    assert child.read_log() == b"loaded\n"
    assert spare_of(children, worker).pid != child.pid


def test_runs_that_come_together_find_as_many_processes_until_these_are_not_needed(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spares() -> list[Child]:
        return list(children.hosts.for_worker(worker).spares)

    clock = Clock()
    monkeypatch.setattr(node_launcher, "time", clock)
    monkeypatch.setattr(node_launcher, "_BETWEEN", 0.01)
    worker = write(tmp_path, _ECHO)
    children.warm(worker)
    for _ in range(2):
        for child in [start(children, worker) for _ in range(8)]:
            read(child)
    until(lambda: len(spares()) == 4, WITHIN, "as many as there may be")

    ready = spares()
    started = [start(children, worker) for _ in range(2)]
    assert started == ready[:2]
    assert all(text(read(child)).endswith("hi") for child in started)

    until(lambda: len(spares()) == 4, WITHIN, "as many as before")
    clock.put_forward(node_launcher._UNUSED)
    left = until(lambda: len(spares()) == 1 and spares(), WITHIN, "one")
    assert left[0].wait(0) is None
    assert all(child.wait(WITHIN) is not None for child in ready if child is not left[0])


def test_a_version_has_its_processes_while_those_of_another_are_started(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_launcher, "_BETWEEN", 60.0)
    worker = write(tmp_path, _ECHO)
    children.warm(worker)
    launcher_of(children)._wanted["w"] = 2
    first = start(children, worker)
    spare_of(children, worker)  # the first of two, after which there is a pause
    changed = write(tmp_path, _ECHO.replace("loaded", "changed"))

    second = start(children, changed)

    assert spare_of(children, changed).wait(0) is None
    for child in (first, second):
        read(child)


def test_no_process_is_started_twice_by_a_run_and_a_warm_up_at_the_same_time(
    children: Children, tmp_path: Path
) -> None:
    worker = write(tmp_path, _ECHO)
    children.warm(worker)
    child = start(children, worker)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(children.warm, [worker] * 4))

    assert len(children.hosts.for_worker(worker).spares) == 1
    read(child)


def test_no_host_is_started_to_end_processes_that_nobody_needs(children: Children, tmp_path: Path) -> None:
    worker = write(tmp_path, _ECHO)
    children.warm(worker)
    read(start(children, worker))
    children.retire(worker)
    launcher = launcher_of(children)
    launcher._needed_at["w"] = -node_launcher._UNUSED

    launcher._want_less("w")

    assert not children.hosts._hosts


def test_a_program_without_the_package_is_not_begun_before_its_run(
    children: Children, tmp_path: Path
) -> None:
    source = """
        const token = process.env.BRANCHLINE_RUN_TOKEN;
        let input = "";
        for await (const chunk of process.stdin) if ((input += chunk).endsWith("\\n")) break;
        const { messages } = JSON.parse(input);
        const text = `${token} ${process.argv[1]} ${messages[0].content}`;
        console.log(JSON.stringify({ type: "delta", text }));
        """
    worker = write(tmp_path, source)
    children.warm(worker)
    waiting = spare_of(children, worker)

    child = start(children, worker)

    assert child is waiting
    assert text(read(child)) == f"t0ken {worker.entrypoint} hi"


def test_changed_code_is_not_executed_by_a_process_that_was_started_before(
    children: Children, tmp_path: Path
) -> None:
    worker = write(tmp_path, _ECHO)
    children.warm(worker)
    old = spare_of(children, worker)
    changed = write(tmp_path, "export default () => 'changed';")

    child = start(children, changed)
    children.retire(worker)

    assert text(read(child)) == "changed"
    assert old.wait(WITHIN) is not None


def test_a_spare_that_was_killed_is_not_given_a_run(children: Children, tmp_path: Path) -> None:
    worker = write(tmp_path, _ECHO)
    children.warm(worker)
    spare_of(children, worker).stop(0)

    assert text(read(start(children, worker))).startswith("r1 ")


_FUNCTION = "export default () => 'never';\n"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (f"{_FUNCTION}function (;\n", r"SyntaxError: .* \(code.js, line 2\)\.$"),
        (f"import './missing.js';\n{_FUNCTION}", r"Cannot find module 'missing.js' imported from code.js\.$"),
        (f"import 'not-there';\n{_FUNCTION}", r"Cannot find package 'not-there'"),
        (f"import {{ x }} from 'node:fs';\n{_FUNCTION}", r"export named 'x' \(code.js, line 1\)\.$"),
        (f"{_FUNCTION}throw new Error('no key');\n", r"Error: no key \(code.js, line 2\)\.$"),
        (f"{_FUNCTION}process.exit(3);\n", "its process ended with exit code 3 while it was loaded"),
        (f"{_FUNCTION}await new Promise(() => 0);\n", "exit code 13 while"),
        ("export { readFileSync } from 'node:fs';\n", "exports no function"),
    ],
    ids=["syntax", "no file", "no package", "no such name", "throws", "exits", "never", "no function"],
)
def test_a_worker_that_cannot_be_loaded_is_refused_with_the_reason(
    children: Children, tmp_path: Path, source: str, reason: str
) -> None:
    worker = write(tmp_path, source)

    with pytest.raises(ChildFailed, match=reason):
        children.warm(worker)

    assert not children.hosts.for_worker(worker).spares


def test_a_run_of_a_worker_that_cannot_be_loaded_says_why(children: Children, tmp_path: Path) -> None:
    worker = write(tmp_path, f"import './missing.js';\n{_FUNCTION}")

    [event] = read(start(children, worker))

    assert (event["type"], event["retryable"]) == ("error", False)
    assert "missing.js" in event["message"]


def test_a_worker_that_prints_much_while_it_is_loaded_is_not_kept_waiting(
    children: Children, tmp_path: Path
) -> None:
    loud = "import { writeSync } from 'node:fs';\nconst x = 'x'.repeat(99);\n"
    loud += "for (let n = 0; n < 9999; n++) writeSync(1 + (n % 2), x + '\\n');\n"
    worker = write(tmp_path, loud + _FUNCTION)

    children.warm(worker)

    assert spare_of(children, worker).wait(0) is None


def test_a_cancelled_worker_may_clean_up_and_leaves_no_call_open(children: Children, tmp_path: Path) -> None:
    source = """
        export default async function run(run) {
          const call = run.tool("wait", {});
          try {
            run.delta("waiting");
            await new Promise((_, reject) => {
              run.signal.addEventListener("abort", () => reject(run.signal.reason));
            });
          } finally {
            run.delta(` cleaned up ${run.handedBack}`);
          }
        }
        """
    child = start(children, write(tmp_path, source))
    said = child.read()
    while b"waiting" not in said:
        said += child.read()
    child.send(b'{"type":"cancel"}')

    events = read(child)

    assert text(events) == " cleaned up false"
    assert events[-1]["data"] == {
        "call_id": "call_r1_1",
        "name": "wait",
        "is_error": True,
        "result": "Cancelled.",
    }
    assert child.wait(0) == 143


def test_a_worker_that_cannot_know_that_it_is_cancelled_ends(children: Children, tmp_path: Path) -> None:
    source = (
        "export default async (run) => { run.delta('x'); await new Promise((r) => setTimeout(r, 1e7)); };"
    )
    child = start(children, write(tmp_path, source))
    assert child.read()

    child.send(b'{"type":"cancel"}')

    assert child.wait(WITHIN) == 143


@pytest.mark.parametrize(
    "source",
    [
        "export default function* run() { for (;;) yield 'x'; }",
        'import { serve } from "branchline";\nexport default serve(function* () { for (;;) yield "x"; });',
    ],
    ids=["a generator", "an agent"],
)
def test_a_worker_that_never_waits_hears_of_its_cancellation(
    children: Children, tmp_path: Path, source: str
) -> None:
    child = start(children, write(tmp_path, source))
    assert child.read()
    child.send(b'{"type":"cancel"}')

    read(child)

    assert child.wait(WITHIN) == 143


TYPED = """
    import type { Run } from "branchline";

    export default async function* run(run: Run): AsyncGenerator<string> {
      const words: string[] = run.messages.map((message) => message.content);
      yield words.join(" ");
    }
    """


def test_typescript_is_executed_as_it_is(children: Children, tmp_path: Path) -> None:
    worker = write(tmp_path, TYPED, "code.ts")
    if reason := worker.unavailable(os.environ):
        pytest.skip(reason)

    assert text(read(start(children, worker))) == "hi"


def test_a_compiler_in_the_workers_folder_makes_javascript_of_typescript(
    children: Children, tmp_path: Path
) -> None:
    worker = write(tmp_path, TYPED, "code.ts")
    package = tmp_path / "node_modules" / "amaro"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"name": "amaro", "main": "main.js"}')
    (package / "main.js").write_text(
        r"""
        const types = /import type.*|: Run|: AsyncGenerator<string>|: string\[\]/g;
        exports.transformSync = (source) => ({ code: source.replace(types, "") });
        """
    )

    assert text(read(start(children, worker))) == "hi"


def test_where_typescript_cannot_be_executed_the_worker_says_what_to_install(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "_version_of", lambda path: (20, 20, 2))
    worker = write(tmp_path, TYPED, "code.ts")

    with pytest.raises(ChildFailed, match=r"install 22\.18 or newer .*npm install amaro"):
        start(children, worker)
    assert "does not execute TypeScript" in str(worker.unavailable({"PATH": "/usr/bin"}))
