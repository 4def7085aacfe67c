"""Calls another worker, one call after the other: the worker for what a sub-run costs."""

from __future__ import annotations

import time

from runtime.sdk import Run

_CALLS = 90
"""Fewer than a run may have."""


def run(run: Run) -> str:
    """The milliseconds of each call, from the call to its result, between semicolons."""
    taken = []
    for _ in range(_CALLS):
        began = time.perf_counter()
        assert run.call("brief", "Go").status == "success"
        taken.append((time.perf_counter() - began) * 1000)
    return ";".join(f"{milliseconds:.4f}" for milliseconds in taken)
