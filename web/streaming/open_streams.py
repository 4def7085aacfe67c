"""How many streams and waits each user has open in this process.

An open stream costs its process a connection, a greenlet and a place among the readers of a
thread, for as long as its reader likes. Those are what one process has a limited number of,
so each process counts for itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from runtime.errors import TooMany

_RETRY_AFTER = 5
"""Seconds after which a user who has too many may try again."""


class OpenStreams:
    """Counts them, and refuses further ones."""

    def __init__(self, per_user: int, full: str) -> None:
        """``per_user``: how many one user may have; 0: any number. ``full``: the message of the error."""
        self._per_user = per_user
        self._full = full
        self._open: Counter[str] = Counter()

    def check(self, user_id: str, places: int = 1) -> None:
        """Raise TooMany if the user may not have so many more."""
        if 0 < self._per_user < self._open[user_id] + places:
            raise TooMany(self._full, _RETRY_AFTER)

    def enter(self, user_id: str, places: int = 1) -> Callable[[], None]:
        """Count ``places`` more, until what is returned is called. Raises TooMany."""
        self.check(user_id, places)
        self._open[user_id] += places
        left = False

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                self._open[user_id] -= places
                if not self._open[user_id]:
                    del self._open[user_id]

        return leave
