"""Slots: how many requests may do at once what takes much memory or much of the processor."""

from __future__ import annotations

import queue

from runtime.errors import TooMany


class Slots:
    """A ``with`` holds one of a few slots, and waits a limited time for one to become free."""

    def __init__(self, number: int, patience: float, full: str) -> None:
        """``patience``: seconds to wait for a slot; ``full``: the message of the error after that."""
        self._patience = patience
        self._full = full
        # Not a threading.Semaphore, see the pool of connections in runtime.stream.connection.
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(number):
            self._free.put(None)

    def __enter__(self) -> None:
        """Acquire a slot. Raises TooMany."""
        try:
            self._free.get(timeout=self._patience)
        except queue.Empty:
            raise TooMany(self._full) from None

    def __exit__(self, *error: object) -> None:
        """Release the slot."""
        self._free.put(None)
