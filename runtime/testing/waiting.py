"""Waiting for what other processes bring about."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.1
"""Seconds between two looks: what takes long is looked at less often, for most looks are requests
that cost the machine more than what is waited for."""


def until(check: Callable[[], Any], within: float = 60.0, what: str = "") -> Any:
    """Wait until ``check`` returns something true, and return that.

    A process of ours that is killed is started again within some seconds; on a machine that has much
    else to do it has taken more than twenty.

    Raises AssertionError with ``what`` was waited for, after ``within`` seconds.
    """
    deadline = time.monotonic() + within
    pause = _FIRST_PAUSE
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what or check}")
        time.sleep(pause)
        pause = min(pause * 1.25, _LONGEST_PAUSE)
