"""Passwords: hashed by argon2, off the event loop, and not guessed quickly."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import Any

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from runtime.errors import TooMany

_AT_ONCE = 4
"""Hashes at a time; each takes 64 MiB."""


class Passwords:
    """Makes and checks hashes. Under gevent in threads, so that streams flow on meanwhile."""

    def __init__(self) -> None:
        self._hasher = argon2.PasswordHasher()

    def hash(self, password: str) -> str:
        """A hash to store."""
        return str(self._aside(self._hasher.hash, _bytes(password)))

    def verify(self, stored: str | None, password: str) -> bool:
        """Whether ``password`` is right. Takes as long where there is no account (None)."""
        matches = self._aside(self._matches, stored or self._of_nobody, _bytes(password))
        return stored is not None and bool(matches)

    def _matches(self, stored: str, password: bytes) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    def _aside(self, function: Callable[..., Any], *args: Any) -> Any:
        monkey = sys.modules.get("gevent.monkey")
        if monkey is None or not monkey.is_module_patched("socket"):
            return function(*args)
        return self._threads.apply(function, args)

    @cached_property
    def _of_nobody(self) -> str:
        return self._hasher.hash(b"nobody's")

    @cached_property
    def _threads(self) -> Any:
        from gevent.threadpool import ThreadPool

        return ThreadPool(_AT_ONCE)


class Throttle:
    """At most so many tries a minute under each name; of this process alone."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._tries: dict[str, deque[float]] = {}

    def count(self, name: str) -> None:
        """A try. Raises TooMany where there were too many."""
        now = self._clock()
        tries = self._tries.setdefault(name, deque())
        while tries and tries[0] <= now - 60:
            tries.popleft()
        if len(tries) >= self._per_minute:
            wait = max(1, round(tries[0] + 60 - now))
            raise TooMany("Too many attempts to sign in; wait a moment.", retry_after=wait)
        tries.append(now)
        if len(self._tries) > 10_000:
            self._tries = {name: kept for name, kept in self._tries.items() if kept and kept[-1] > now - 60}


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
