"""Takes durable steps: the worker for what one of them costs."""

from __future__ import annotations

import time

from runtime.sdk import Run

_STEPS = 200


def run(run: Run) -> str:
    """The milliseconds of each step, between semicolons."""
    taken = []
    for number in range(_STEPS):
        began = time.perf_counter()
        run.once(f"step {number}", lambda: "the result of a call that costs something")
        taken.append((time.perf_counter() - began) * 1000)
    return ";".join(f"{milliseconds:.4f}" for milliseconds in taken)
