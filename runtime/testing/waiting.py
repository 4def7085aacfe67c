"""Waiting for what other processes bring about."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(check: Callable[[], Any], within: float = 20.0, what: str = "") -> Any:
    """Wait until ``check`` returns something true, and return that.

    Raises AssertionError with ``what`` was waited for, after ``within`` seconds.
    """
    deadline = time.monotonic() + within
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what or check}")
        time.sleep(0.02)
