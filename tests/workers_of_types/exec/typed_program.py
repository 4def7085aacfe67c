"""The modes of the contract of worker types, as a program that speaks the protocol by itself."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

_FOR_EVER = 3600.0


def say(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def delta(text: str) -> None:
    say(type="delta", text=text)


def answer() -> dict[str, Any]:
    """The next line of the pool."""
    line = sys.stdin.readline()
    if not line:
        sys.exit(1)
    fields: dict[str, Any] = json.loads(line)
    return fields


def main() -> None:
    first = answer()
    mode, attempt = first["config"]["mode"], first["run"]["attempt"]
    if mode == "cancel":  # the line says so, before the signal that follows it
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if not first["open"] and not first["answers"]:
        delta("so far")
    match mode:
        case "raise":
            return say(type="error", message="as you asked", retryable=False)
        case "hang":
            time.sleep(_FOR_EVER)
        case "crash":
            os._exit(3)
        case "garbage":
            print('plain words\n[1,2]\n{"type":"nonsense"}', flush=True)
            delta(" and on")
        case "flood":
            for _ in range(5000):
                delta(".")
        case "question":
            if not first["answers"]:
                return say(type="confirm", id="1", prompt="Shall I?", options=["yes", "no"])
            delta(f" {first['answers'][0]['answer']}")
        case "once":
            if "paid" not in first["saved"]:
                say(type="save", key="paid", value=attempt)
                assert answer() == {"type": "saved", "key": "paid"}
            delta(f" {first['saved'].get('paid', attempt)}")
            if attempt == 1:
                return say(type="error", message="again", retryable=True)
        case "call":
            say(type="call", id="a", worker_id="typed-exec", messages=[], config={"mode": "ok"})
            while (line := answer())["type"] != "result":
                pass
            delta(f" {line['messages'][0]['content']}")
        case "steer":
            while True:
                say(type="inbox")
                if message := answer()["message"]:
                    break
                time.sleep(0.1)
            delta(message["content"])
        case "cancel":
            assert answer()["type"] == "cancel"
            delta(" cleaned up")
            sys.exit(1)
        case "continue":
            if not first["open"]:
                return say(type="error", message="again", retryable=True)
            delta(" and on")
    say(type="done")


if __name__ == "__main__":
    main()
