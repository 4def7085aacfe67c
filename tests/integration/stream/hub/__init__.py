"""The scenarios of test_hub.py, each of which runs in a process of its own.

The hub lives in a gevent process; pytest does not. test_hub.py starts
``python -m gevent.monkey --module tests.integration.stream.hub NAME URL``.
"""

from __future__ import annotations

from tests.integration.stream.hub import (
    combined,
    direct_writers,
    outages,
    runs,
    slow_readers,
    threads,
    wake_ups,
)
from tests.integration.stream.hub.stage import SCENARIOS

__all__ = [
    "SCENARIOS",
    "combined",
    "direct_writers",
    "outages",
    "runs",
    "slow_readers",
    "threads",
    "wake_ups",
]
