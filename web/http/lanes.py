"""Lanes: how many requests of one kind a process serves at once, and how many of them for one user.

What such a request costs depends on what the user has stored. In a lane of its own it
takes its time, and neither the other users nor the user's other requests wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from web.http.slots import Slots


@dataclass(slots=True)
class _OfUser:
    """One user's share of a lane, while there is a request that wants it."""

    slots: Slots
    requests: int = 0


class Lane:
    """Slots, of which each user may hold only some."""

    def __init__(self, number: int, per_user: int, patience: float, full: str) -> None:
        """``patience``: seconds to wait for a slot; ``full``: the message of the error after that."""
        self._slots = Slots(number, patience, full)
        self._share = per_user, patience, full
        self._users: dict[str, _OfUser] = {}

    @contextmanager
    def hold(self, user_id: str) -> Iterator[None]:
        """Hold a slot for the user. Raises TooMany."""
        share = self._users.setdefault(user_id, _OfUser(Slots(*self._share)))
        share.requests += 1
        try:
            # The share comes first: who waits for it keeps no slot from anybody else.
            with share.slots, self._slots:
                yield
        finally:
            share.requests -= 1
            if not share.requests:
                del self._users[user_id]
