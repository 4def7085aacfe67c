"""Repeats the user's last message: a worker to try things with."""

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
    """Repeat the message in pieces that add up to exactly its text."""
    texts = [message.content for message in run.messages if message.role == "user"]
    delay = run.config.get("delay_ms", 0) / 1000
    for piece in _PIECES[run.config.get("piece", "word")].findall(texts[-1] if texts else ""):
        if delay:
            time.sleep(delay)
        yield piece
