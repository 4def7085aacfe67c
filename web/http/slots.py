"""Places: how many may do at once what takes much memory or much of the processor."""

from __future__ import annotations

import queue

from runtime.errors import TooMany


class Places:
    """A ``with`` holds one of a few places; who finds none free waits his turn, but not for long."""

    def __init__(self, number: int, patience: float, full: str) -> None:
        """``patience``: seconds that somebody waits; ``full``: what he is told then."""
        self._patience = patience
        self._full = full
        # Not a threading.Semaphore, see the pool of connections in runtime.stream.link.
        self._free: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(number):
            self._free.put(None)

    def __enter__(self) -> None:
        """Wait for a place. Raises TooMany."""
        try:
            self._free.get(timeout=self._patience)
        except queue.Empty:
            raise TooMany(self._full) from None

    def __exit__(self, *error: object) -> None:
        """Give the place back."""
        self._free.put(None)
