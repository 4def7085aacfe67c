"""Credentials: what a request shows to say whose it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from runtime.model import User
from runtime.store import Database, users

_KEPT = 10_000
"""Credentials that are remembered at most."""


@dataclass(frozen=True, slots=True)
class Credential:
    """An API token's secret, or a session's id."""

    kind: str
    """``token`` or ``session``."""
    value: str

    def user(self, database: Database) -> User | None:
        """Whose it is; None where it is worth nothing (any more). One query."""
        find = users.by_token if self.kind == "token" else users.by_session
        return database.read(find, self.value)


class Validity:
    """Whether credentials still hold, looked up at most once in ``seconds`` for each.

    Streams ask at every heartbeat, thousands of them for the same user.
    """

    def __init__(
        self, database: Database, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._seconds = seconds
        self._clock = clock
        self._seen: dict[Credential, tuple[float, bool]] = {}

    def holds(self, credential: Credential) -> bool:
        """Whether there is still somebody to whom it belongs. Raises StoreUnavailable."""
        seen, held = self._seen.get(credential, (float("-inf"), False))
        if self._clock() - seen < self._seconds:
            return held
        held = credential.user(self._database) is not None
        if len(self._seen) >= _KEPT:
            self._seen.clear()
        self._seen[credential] = (self._clock(), held)
        return held
