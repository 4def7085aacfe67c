"""Repeats the last message of the user: a worker to try things with."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from runtime.sdk import Run

_PIECES = {
    "character": re.compile(r".", re.DOTALL),
    "word": re.compile(r"\s*\S+|\s+\Z"),
    "line": re.compile(r"[^\n]*\n|[^\n]+"),
}


def run(run: Run) -> Iterator[str]:
    """Say the message again; the pieces make up exactly its text."""
    said = [message.content for message in run.messages if message.role == "user"]
    delay = run.config.get("delay_ms", 0) / 1000
    for piece in _PIECES[run.config.get("piece", "word")].findall(said[-1] if said else ""):
        if delay:
            time.sleep(delay)
        yield piece
