"""Says the time: the worker for what depends on how much of a thread is given."""

from __future__ import annotations

import time

from runtime.sdk import Run


def run(run: Run) -> str:
    """The moment of its writing, in seconds since 1970, and a semicolon."""
    return f"{time.time():.6f};"
