"""Calls itself, and others, in the way that its arguments say."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from runtime.sdk import Failure, Run

ME = "team"


def run(run: Run) -> Any:
    """``args`` has the way, and what it needs."""
    args = run.args or {}
    way = {
        "say": say, "chain": chain, "follow": follow, "gather": gather, "threads": threads, "hold": hold,
        "ask": ask, "fail": fail, "die": die, "changed": changed, "ahead": ahead, "astream": astream,
        "unknown": unknown, "both": both, "zigzag": zigzag, "later": later,
        "everything": everything, "spend": spend, "checklist": checklist,
    }[args["way"]]  # fmt: skip
    return way(run, **{name: value for name, value in args.items() if name != "way"})


def say(run: Run) -> Iterator[str]:
    """What it was told, word by word."""
    yield from (f"{word} " for word in run.messages[-1].content.split())


def chain(run: Run, depth: int, last: dict[str, Any] | None = None) -> Iterator[str]:
    """One below the other."""
    if depth == 0:
        yield "bottom"
        return
    below = {"way": "chain", "depth": depth - 1, "last": last} if depth > 1 or not last else last
    called = run.call(ME, "go", args=below)
    yield f"{depth}:{called.status}:{called.text}"


def zigzag(run: Run, way_down: list[str]) -> str:
    """One below the other, each of the next worker."""
    if not way_down:
        return "bottom"
    below = {"way": "zigzag", "way_down": way_down[1:]}
    called = run.call(way_down[0], "go", args=below)
    return f"{way_down[0]} {called.text or called.error}"


def follow(run: Run, last: dict[str, Any], text: str = "one two three") -> Iterator[str]:
    """Says what another one says, as it comes."""
    yield "said: "
    yield from run.call(ME, text, args=last)
    yield "."


async def astream(run: Run, said: str) -> AsyncIterator[str]:
    """The same with an event loop."""
    async for piece in run.call(ME, said, args={"way": "say"}):
        yield piece


async def gather(run: Run, count: int, below: dict[str, Any] | None = None) -> str:
    """Many at once, awaited."""
    args = below or {"way": "say"}
    made = [run.call(ME, f"n{number}", args=args, id=f"c{number}") for number in range(count)]
    return ",".join(call.text.strip() or call.status for call in await asyncio.gather(*made))


def threads(run: Run, count: int) -> str:
    """Many at once, each in a thread."""

    def one(number: int) -> str:
        return run.call(ME, f"n{number}", args={"way": "say"}, id=f"c{number}").text.strip()

    with ThreadPoolExecutor(count) as executor:
        return ",".join(executor.map(one, range(count)))


def ahead(run: Run, count: int) -> str:
    """Many at once, without threads: what is asked of them waits."""
    calls = [run.call(ME, f"n{number}", args={"way": "say"}) for number in range(count)]
    return ",".join(call.text.strip() for call in calls)


def hold(run: Run, until: str, text: str = "held") -> str:
    """Until there is a file, and says that it has begun in another one."""
    Path(f"{until}.{run.id}").touch()
    while not Path(until).exists():
        time.sleep(0.01)
    return text


def checklist(run: Run, below: dict[str, dict[str, Any]]) -> str:
    """A task for each title, at the same time, and a list of them."""
    tasks = [{"call_id": f"task {title}", "title": title} for title in below]
    shown = run.start(data={"checklist": tasks})
    shown.delta("\n".join(f"- [ ] {title}" for title in below))
    calls = [run.call(ME, title, args=args, id=f"task {title}") for title, args in below.items()]
    ended = [{**task, "status": call.status} for task, call in zip(tasks, calls, strict=True)]
    shown.end({"checklist": ended})
    return "That was all."


def ask(run: Run, prompt: str, before: str = "") -> Iterator[str]:
    """Asks its user."""
    if before:
        yield before
    yield f"answered {run.confirm(prompt, options=['yes', 'no'])}"


def both(run: Run, last: list[dict[str, Any]]) -> Iterator[str]:
    """Calls several, and says something around each."""
    for number, args in enumerate(last):
        yield f"[{number}"
        called = run.call(ME, "go", args=args)
        yield f" {called.text}]"


def everything(run: Run) -> Iterator[str]:
    """All that a stream tells of."""
    run.step("asking others")
    yield "before"
    yield run.call(ME, "go", args={"way": "say"}).text
    while (message := run.inbox.poll()) is None:
        time.sleep(0.01)
    yield message.content
    yield str(run.confirm("Shall I?", options=["yes", "no"]))
    run.step("ending")
    yield from run.call(ME, "go", args={"way": "say"}, id="second")


def spend(run: Run, depth: int) -> str:
    """Says what the one below it has used, and all below that."""
    run.usage(tokens=1)
    if depth == 0:
        return "spent"
    called = run.call(ME, "go", args={"way": "spend", "depth": depth - 1})
    return f"spent {called.usage} below {called.usage_below}"


def fail(run: Run) -> str:
    """Fails for good."""
    raise Failure("It cannot be done.")


def unknown(run: Run, worker: str, config: dict[str, Any] | None = None) -> str:
    """Calls what there is not."""
    called = run.call(worker, "go", config=config)
    return f"{called.status} {called.run_id} {called.error and called.error['code']}"


def die(run: Run, marker: str, last: dict[str, Any], when: str) -> Iterator[str]:
    """Has its host killed once, before or after the end of its call."""
    called = run.call(ME, "go", args=last)
    if when == "after":
        assert called.status
    else:
        assert called.run_id
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(3600)
    yield f"{called.run_id} {called.text}"


def later(run: Run, marker: str) -> str:
    """Has its host killed once, and calls then."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(3600)
    return run.call(run.fields["worker_id"], "below", args={"way": "say"}).text


def changed(run: Run) -> str:
    """Asks for something else in each attempt."""
    called = run.call(ME, f"attempt {run.attempt}", args={"way": "say"})
    if run.attempt == 1:
        assert called.status
        raise Failure("again", retryable=True)
    return called.text
