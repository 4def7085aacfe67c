"""Does the steps of its configuration, one after the other; where its arguments say, the attempt is lost.

``begin`` in its arguments is a file that it waits for.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from runtime.sdk import Failure, Run


def run(run: Run) -> None:
    """Each step is its kind and a text."""
    losses = {(attempt, number): how for attempt, number, how in (run.args or {}).get("losses", ())}
    begin = (run.args or {}).get("begin")
    while begin and not Path(begin).exists():
        time.sleep(0.005)
    for number, (kind, text) in enumerate(run.config["steps"]):
        _lose(losses.get((run.attempt, number)))
        _do(run, kind, text)
    _lose(losses.get((run.attempt, len(run.config["steps"]))))


def _do(run: Run, kind: str, text: str) -> None:
    match kind:
        case "delta":
            run.delta(text)
        case "message":
            run.message(text, role="tool")
        case "stream":
            with run.start(type="code") as code:
                code.delta(text)
                code.delta(text)
        case "once":
            run.delta(run.once(text, lambda: _pay(run, text)))
        case "confirm":
            run.delta(str(run.confirm(text)))
        case "call":
            run.delta(_call(run, [["delta", "below "], ["once", text]], text))
        case "ask":
            run.delta(_call(run, [["confirm", text]], text))
        case "gone":
            below = {"steps": [["confirm", text]]}
            run.delta(f"{text} {run.call('program', 'Go', config=below, id=text).status} ")
        case "inbox":
            message = run.inbox.poll()
            run.delta(f"{text} found {message.content if message else 'nothing'} ")
        case "state":
            run.state.setdefault("kept", []).append(text)
        case "usage":
            run.usage(**{text: 1})
        case "pause":
            time.sleep(float(text))


def _call(run: Run, steps: list[list[str]], text: str) -> str:
    called = run.call("program", "Go", config={"steps": steps}, args={"ledger": run.args["ledger"]}, id=text)
    assert called.status == "success", called.error
    return called.text


def _pay(run: Run, text: str) -> str:
    with Path(run.args["ledger"]).open("a") as ledger:
        ledger.write(f"{run.id} {text}\n")
    run.usage(paid=1)
    return f"paid {text} "


def _lose(how: str | None) -> None:
    match how:
        case "fail":
            raise Failure("lost", retryable=True)
        case "host":
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(3600)
