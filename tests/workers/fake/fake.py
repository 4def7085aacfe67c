"""Misbehaves as its config says: everybody's tests use it instead of mocks."""

from __future__ import annotations

import base64
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from runtime.sdk import Cancelled, Failure, Run, worker

_FOR_EVER = 3600.0
_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAABgAAAAYCAIAAABvFaqvAAAAH0lEQVR42mO4YOBAFcQwatCoQaMGjRo0atCoQQNvEACbR9Aflcch6gAAAABJRU5ErkJggg=="
)
_MODES: dict[str, Callable[[Run], Any]] = {}


@worker
def fake(run: Run) -> Any:
    """Do what ``config.mode`` names."""
    if run.attempt >= run.config.get("until_attempt", sys.maxsize):
        return ok(run)
    return _MODES[run.config.get("mode", "ok")](run)


def mode(function: Callable[[Run], Any]) -> Callable[[Run], Any]:
    """Register a mode under its function's name."""
    _MODES[function.__name__.rstrip("_")] = function
    return function


@mode
def ok(run: Run) -> Iterator[str]:
    """Says the text ``count`` times."""
    for _ in range(run.config.get("count", 1)):
        yield run.config.get("text", "Hello, world! ")
        if run.config.get("gap"):
            time.sleep(run.config["gap"])


@mode
def raise_(run: Run) -> Iterator[str]:
    """Says the text and raises."""
    yield from ok(run)
    raise ValueError("as you asked")


@mode
def fail(run: Run) -> Iterator[str]:
    """Says the text and fails with a text for the user."""
    yield from ok(run)
    raise Failure("It did not work out.", retryable=run.config.get("retryable", False))


@mode
def hang(run: Run) -> Iterator[str]:
    """Says the text and then nothing, for ever."""
    yield from ok(run)
    time.sleep(_FOR_EVER)


@mode
def gate(run: Run) -> Iterator[str]:
    """Says the text, waits until the file ``path`` exists, and says it again."""
    yield from ok(run)
    while not Path(run.config["path"]).exists():
        time.sleep(0.005)
    yield from ok(run)


@mode
def crash(run: Run) -> Iterator[str]:
    """Says the text and ends with ``exit_code``, as if pulled out."""
    yield from ok(run)
    print("about to crash", file=sys.stderr, flush=True)
    os._exit(run.config.get("exit_code", 3))


@mode
def kill_pool(run: Run) -> Iterator[str]:
    """Says the text and kills the process that supervises it."""
    yield from ok(run)
    _kill_pool()


@mode
def signal_host(run: Run) -> Iterator[str]:
    """Says the text, and sends ``signal`` to the process that it was forked from."""
    yield from ok(run)
    os.kill(os.getppid(), run.config["signal"])
    time.sleep(_FOR_EVER)


@mode
def segfault(run: Run) -> Iterator[str]:
    """Says the text and reads address 0."""
    yield from ok(run)
    ctypes.string_at(0)


@mode
def exit(run: Run) -> Iterator[str]:
    """Says the text and calls sys.exit."""
    yield from ok(run)
    sys.exit(run.config.get("exit_code", 3))


@mode
def exit0_mid_message(run: Run) -> None:
    """Ends well, says the exit code, but leaves a message open and a line unfinished."""
    run.start(type="code", data={"language": "python"}).delta("x = ")
    _write(b'{"type":"delta","te')
    os._exit(0)


@mode
def silent(run: Run) -> None:
    """Ends without a word, not even done."""
    os._exit(0)


@mode
def garbage(run: Run) -> Iterator[str]:
    """Writes what is no protocol between two pieces of text."""
    yield from ok(run)
    _write(b"plain words\n\xff\xfe\x00\n[1,2]\n{broken\n")
    _write(b'{"type":"nonsense"}\n{"type":"delta","text":5}\n{"no":"type"}\n\n{"type":"end","ref":"none"}\n')
    yield from ok(run)


@mode
def noise(run: Run) -> Iterator[str]:
    """Prints, and starts a program that prints, between two pieces of text."""
    yield from ok(run)
    print('{"type":"error","message":"only printed"}', flush=True)
    subprocess.run(["echo", "echoed by a program"], check=True)
    yield from ok(run)


@mode
def flood(run: Run) -> None:
    """Says the text ``count`` times as fast as the pipe takes it."""
    line = json.dumps({"type": "delta", "text": run.config["text"]}).encode() + b"\n"
    block = line * 500
    blocks, rest = divmod(run.config["count"], 500)
    for _ in range(blocks):
        _write(block)
    _write(line * rest)


@mode
def daemon(run: Run) -> None:
    """Leaves a process behind that has daemonised itself; its pid is the answer and is in ``path``."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(writer, str(os.getpid()).encode())
            time.sleep(_FOR_EVER)
        os._exit(0)
    _tell_pid(run, os.read(reader, 20).decode())


@mode
def child(run: Run) -> None:
    """Starts a program in its group and waits for it, for ever; its pid is the answer and is in ``path``."""
    process = subprocess.Popen(["sleep", str(_FOR_EVER)])
    _tell_pid(run, str(process.pid))
    process.wait()


@mode
def ignore_term(run: Run) -> None:
    """Hangs, and does not care for SIGTERM nor cancel."""
    for number in (signal.SIGTERM, signal.SIGIO):
        signal.signal(number, signal.SIG_IGN)
    run.delta(run.config.get("text", "Hello, world! "))
    time.sleep(_FOR_EVER)


@mode
def clean_up(run: Run) -> Iterator[str]:
    """Hangs; when it is cancelled it says and writes to ``path`` that it cleans up."""
    try:
        yield from ok(run)
        while True:
            time.sleep(0.02)
    except Cancelled:
        run.delta("cleaned up")
        if run.config.get("path"):
            Path(run.config["path"]).write_text("cleaned up")
        raise


@mode
def big_line(run: Run) -> None:
    """Writes ``size`` bytes without a line break."""
    _write(b'{"type":"delta","text":"')
    for _ in range(run.config["size"] // 65536):
        _write(b"x" * 65536)
    _write(b'"}\n')


@mode
def big_message(run: Run) -> Iterator[str]:
    """Says ``size`` characters in pieces of 64 KiB."""
    for _ in range(run.config["size"] // 65536):
        yield "x" * 65536


@mode
def close_stdout_and_sleep(run: Run) -> None:
    """Closes its output and hangs."""
    run.delta(run.config.get("text", "Hello, world! "))
    os.close(_output())
    time.sleep(_FOR_EVER)


@mode
def confirm(run: Run) -> Iterator[str]:
    """Says the text, asks once, and says what was answered."""
    yield from ok(run)
    answer = run.confirm("Shall I?", options=["yes", "no"])
    yield f"You said {answer}."


@mode
def confirm_twice(run: Run) -> Iterator[str]:
    """Asks twice."""
    yield "one "
    first = run.confirm("First?")
    yield "two "
    second = run.confirm("Second?")
    yield f"{first} and {second}"


@mode
def remember(run: Run) -> Iterator[str]:
    """Keeps the last message of each turn of its branch, and says all of them; asks if it is told to."""
    run.state.setdefault("heard", []).append(run.messages[-1].content)
    if run.messages[-1].content == "ask":
        run.confirm("Shall I?")
    yield " ".join(run.state["heard"])


@mode
def question_form(run: Run) -> Iterator[str]:
    """Asks for a name and how many, and says what was answered."""
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "title": "Name", "minLength": 2},
            "count": {"type": "integer", "title": "How many", "default": 3, "maximum": 9},
        },
        "required": ["name"],
    }
    yield json.dumps(run.confirm("What shall I order?", schema=schema), sort_keys=True)


@mode
def another_question(run: Run) -> Iterator[str]:
    """Asks something else in each attempt."""
    yield str(run.confirm(f"Shall I delete {run.attempt} files?", options=["yes", "no"]))


@mode
def messages(run: Run) -> Iterator[str]:
    """Thinks, calls a function, shows its result, writes code and answers."""
    with run.start(channel="reasoning") as thought:
        thought.delta("Let me ")
        thought.delta("think.")
    call = run.start(type="function", data={"name": "add", "call_id": "c1"})
    code = run.start(type="code", data={"language": "python"})
    call.delta('{"a":1,')
    code.delta("1 + ")
    call.delta('"b":2}')
    code.delta("2")
    code.end()
    call.end(data={"arguments": {"a": 1, "b": 2}})
    run.message("3", role="tool", type="function", data={"call_id": "c1", "result": 3})
    yield "The sum is 3."


@mode
def authors(run: Run) -> Iterator[str]:
    """Speaks as each author that the text names, and then as itself."""
    for author in run.config["text"].split():
        run.message(f"This is {author}.", author=author)
    yield "This is me."


@mode
def steps(run: Run) -> Iterator[str]:
    """Says what it does and what it used; in between it waits for the file ``path``, if one is named."""
    run.step("Looking")
    yield from ok(run)
    while run.config.get("path") and not Path(run.config["path"]).exists():
        time.sleep(0.005)
    run.step("Thinking")
    run.usage(input_tokens=12, output_tokens=3)


@mode
def once(run: Run) -> Iterator[str]:
    """Takes ``count`` durable steps, each of which adds a line to the file ``path``; kills its pool after
    half of them, and asks its user after the last."""
    ledger = Path(run.config["path"])

    def pay(number: int) -> str:
        with ledger.open("a") as file:
            file.write(f"{number}\n")
        run.usage(paid=1)
        return f"paid {number} "

    for number in range(run.config.get("count", 1)):
        yield run.once(f"pay {number}", pay, number)
        if run.attempt == 1 and number + 1 == run.config["count"] // 2:
            _kill_pool()
    yield run.confirm("Shall I?", options=["yes", "no"])


@mode
def listen(run: Run) -> Iterator[str]:
    """Says the text ``count`` times, and after each time what is in its inbox.

    With a ``path`` it first waits until that file exists. With a ``gap`` it kills its pool in its first
    attempt so many seconds after it has begun to look, without waiting for what it is given.
    """
    while run.config["path"] and not Path(run.config["path"]).exists():
        time.sleep(0.005)
    for _ in range(run.config.get("count", 1)):
        yield run.config.get("text", "Hello, world! ")
        if run.attempt == 1 and run.config["gap"]:
            run.emit({"type": "inbox"})
            time.sleep(run.config["gap"])
            _kill_pool()
        for message in run.inbox():
            yield f"I read {message.content}. "


@mode
def images(run: Run) -> None:
    """Shows a picture, and tries what must not be shown."""
    run.image(_PNG, "A red dot")
    hostile = '<svg xmlns="http://www.w3.org/2000/svg" onload="window.hit = 1"/>'
    for url in (f"data:image/svg+xml,{hostile}", "https://evil.example/a.png", "javascript:window.hit=1"):
        run.message("Not shown", type="image", data={"url": url})


@mode
def environ(run: Run) -> str:
    """Says its environment, folder, ids and limits as JSON."""
    return json.dumps(
        {"environ": dict(os.environ), "folder": os.getcwd(), "session": os.getsid(0), "pid": os.getpid()}
    )


def _kill_pool() -> None:
    host = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()
    os.kill(int(host[1]), signal.SIGKILL)
    time.sleep(_FOR_EVER)


def _tell_pid(run: Run, pid: str) -> None:
    if run.config.get("path"):
        Path(run.config["path"]).write_text(pid)
    run.delta(pid)


def _output() -> int:
    """The descriptor of the protocol's lines, which the SDK keeps to itself."""
    found = [
        int(name) for name in os.listdir("/proc/self/fd")
        if int(name) > 2 and _is_pipe_to_write(int(name))
    ]  # fmt: skip
    return found[-1]


def _is_pipe_to_write(descriptor: int) -> bool:
    try:
        target = os.readlink(f"/proc/self/fd/{descriptor}")
        flags = int(Path(f"/proc/self/fdinfo/{descriptor}").read_text().split("flags:")[1].split()[0], 8)
    except OSError:
        return False
    return target.startswith("pipe:") and flags & os.O_ACCMODE == os.O_WRONLY


def _write(data: bytes) -> None:
    descriptor = _output()
    while data:
        data = data[os.write(descriptor, data) :]
