"""Counts, and goes on where a lost attempt was."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from runtime.sdk import Run


def run(run: Run) -> Iterator[str]:
    """Think, then count; the open messages say how far a lost attempt was."""
    if run.config["discard"]:
        run.discard()
    earlier = [message for message in run.earlier if message.channel == "reasoning"]
    if not earlier:
        with run.start(channel="reasoning") as thought:
            if not any(message.channel == "reasoning" for message in run.open):
                thought.delta("Let me count.")
    said = [message.content for message in (*run.earlier, *run.open) if message.channel == "answer"]
    for number in range(len("".join(said).split()), run.config["to"]):
        yield f"{number} "
        time.sleep(0.01)
        if run.attempt == 1 and number == run.config["kill_at"]:
            _kill_pool()


def _kill_pool() -> None:
    host = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()
    os.kill(int(host[1]), signal.SIGKILL)
    time.sleep(3600)
