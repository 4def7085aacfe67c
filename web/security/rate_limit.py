"""A rate limit for signing in, shared by all web processes, so that passwords cannot be guessed quickly."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

import gevent

from runtime.errors import StreamUnavailable, TooMany
from runtime.stream import SlidingWindow

WINDOW = 60.0
"""Seconds."""

_PATIENCE = 1.0
"""Seconds that Redis may take to answer."""

_RETRY_AFTER = 10.0
"""Seconds for which Redis is not asked again after it has not answered."""

_MAX_KEYS = 10_000
"""Keys that a process counts by itself before it drops those whose window is over."""


class RateLimit:
    """At most so many attempts a minute per key, in all web processes together.

    While Redis is away each process counts for itself, so that an outage neither locks
    anybody out nor allows unlimited guessing.
    """

    def __init__(
        self, shared: SlidingWindow, per_minute: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._shared = shared
        self._local = _LocalCounter(per_minute, clock)
        self._clock = clock
        self._retry_at = 0.0

    def check(self, *keys: str) -> None:
        """Count an attempt under each key. Raises TooMany where one of them is over the limit."""
        for key in keys:
            wait = self._wait(key)
            if wait > 0:
                raise TooMany("Too many attempts. Try again in a moment.", retry_after=math.ceil(wait))

    def _wait(self, key: str) -> float:
        if self._clock() >= self._retry_at:
            try:
                with gevent.Timeout(_PATIENCE, StreamUnavailable):
                    return self._shared.count(key)
            except StreamUnavailable:
                self._retry_at = self._clock() + _RETRY_AFTER
        return self._local.count(key)


class _LocalCounter:
    """The same count, in the memory of one process."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._attempts: dict[str, deque[float]] = {}

    def count(self, key: str) -> float:
        """Count an attempt, and return 0; or, over the limit, return the seconds to wait."""
        now = self._clock()
        attempts = self._attempts.setdefault(key, deque(maxlen=self._limit))
        if len(attempts) == self._limit and now - attempts[0] < WINDOW:
            return attempts[0] + WINDOW - now
        attempts.append(now)
        if len(self._attempts) > _MAX_KEYS:
            self._attempts = {key: kept for key, kept in self._attempts.items() if kept[-1] > now - WINDOW}
        return 0.0
