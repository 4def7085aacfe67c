"""Says the time ``n`` times, with ``gap`` seconds between: the worker of the benchmarks."""

from __future__ import annotations

import time
from collections.abc import Iterator

from runtime.sdk import Run


def run(run: Run) -> Iterator[str]:
    """Each delta is the moment of its writing, in seconds since 1970, and a semicolon."""
    gap = run.args["gap"]
    for _ in range(run.args["n"]):
        yield f"{time.time():.6f};"
        if gap:
            time.sleep(gap)
