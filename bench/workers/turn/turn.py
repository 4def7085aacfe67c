"""Says the time, so that no turn says what the one before has said."""

from __future__ import annotations

import time

from runtime.sdk import Run


def run(run: Run) -> str:
    """The moment, in seconds since 1970."""
    return f"{time.time():.6f}"
