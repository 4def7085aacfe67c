"""The modes of the contract of worker types, by the Python SDK."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

from runtime.sdk import Cancelled, Failure, Run

_FOR_EVER = 3600.0


def run(run: Run) -> Iterator[Any]:
    """Do what ``config.mode`` names."""
    mode = run.config["mode"]
    if not run.open:
        yield "so far"
    match mode:
        case "raise":
            raise ValueError("as you asked")
        case "hang":
            time.sleep(_FOR_EVER)
        case "crash":
            os._exit(3)
        case "garbage":
            print('plain words\n[1,2]\n{"type":"nonsense"}', flush=True)
            yield " and on"
        case "flood":
            for _ in range(5000):
                yield "."
        case "question":
            yield f" {run.confirm('Shall I?', options=['yes', 'no'])}"
        case "once":
            yield f" {run.once('paid', lambda: run.attempt)}"
            if run.attempt == 1:
                raise Failure("again", retryable=True)
        case "call":
            yield f" {run.call('typed-exec', 'hi', config={'mode': 'ok'}).text}"
        case "steer":
            while (message := run.inbox.poll()) is None:
                time.sleep(0.1)
            yield message.content
        case "cancel":
            try:
                time.sleep(_FOR_EVER)
            except Cancelled:
                run.delta(" cleaned up")
                raise
        case "continue":
            if not run.open:
                raise Failure("again", retryable=True)
            yield " and on"
