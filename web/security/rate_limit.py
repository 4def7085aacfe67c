"""The throttle: nobody guesses passwords quickly, however many web processes they ask."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import deque
from collections.abc import Callable

import gevent

from runtime.errors import StreamUnavailable, TooMany
from runtime.stream import Tries

WINDOW = 60.0
"""Seconds."""

_PATIENCE = 1.0
"""Seconds that Redis may take to answer."""

_LEFT_ALONE = 10.0
"""Seconds for which Redis is not asked again, once it has not answered."""

_NAMES = 10_000
"""Names that a process counts for by itself before it forgets those of the last window."""


class Throttle:
    """At most so many tries a minute under each name, in all web processes together.

    Where Redis is away each process counts for itself, so that an outage neither keeps
    anybody out nor lets anybody guess without end.
    """

    def __init__(self, shared: Tries, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._shared = shared
        self._own = _OwnTries(per_minute, clock)
        self._clock = clock
        self._ask_again_at = 0.0

    def count(self, *names: str) -> None:
        """A try under each name. Raises TooMany where there were too many under one of them."""
        for name in names:
            wait = self._wait(name)
            if wait > 0:
                raise TooMany("Too many attempts; wait a moment.", retry_after=math.ceil(wait))

    def _wait(self, name: str) -> float:
        if self._clock() >= self._ask_again_at:
            try:
                with gevent.Timeout(_PATIENCE, StreamUnavailable):
                    return self._shared.count(name)
            except StreamUnavailable:
                self._ask_again_at = self._clock() + _LEFT_ALONE
        return self._own.count(name)


class _OwnTries:
    """The same count, in the memory of one process."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._tries: dict[str, deque[float]] = {}

    def count(self, name: str) -> float:
        """Note a try; or, where there were too many, the seconds to wait."""
        now = self._clock()
        tries = self._tries.setdefault(name, deque(maxlen=self._most))
        if len(tries) == self._most and now - tries[0] < WINDOW:
            return tries[0] + WINDOW - now
        tries.append(now)
        if len(self._tries) > _NAMES:
            self._tries = {name: kept for name, kept in self._tries.items() if kept[-1] > now - WINDOW}
        return 0.0


def network(address: str | None) -> str:
    """What an address is counted as. Of IPv6 its /64, for whoever has one address there has them all."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)
