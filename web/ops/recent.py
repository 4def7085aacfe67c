"""A recent answer, for questions that anybody may ask and that cost more than their answer is worth."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """The result of a call that is made at most once in a while, however many ask at once."""

    def __init__(self, find: Callable[[], T], seconds: float) -> None:
        """``seconds``: how long what ``find()`` has returned or raised counts, from its end on."""
        self._find = find
        self._seconds = seconds
        self._lock = Lock()
        self._outcome: Callable[[], T] = find
        self._until = float("-inf")

    def get(self) -> T:
        """What was found. Raises what was raised."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._outcome = _outcome_of(self._find)
                self._until = time.monotonic() + self._seconds
        return self._outcome()


def _outcome_of(find: Callable[[], T]) -> Callable[[], T]:
    try:
        found = find()
    except Exception as error:
        kept = error

        def fail() -> T:
            raise kept.with_traceback(None)  # else it would grow each time

        return fail
    return lambda: found
