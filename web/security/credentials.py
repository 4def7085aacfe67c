"""Credentials: what a request shows to say whose it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from runtime.dispatch import after_commit
from runtime.errors import StreamUnavailable
from runtime.model import User
from runtime.store import Database, users
from runtime.stream import Revocations

_REMEMBERED_FOR = 5.0
"""Seconds. Also how long a session outlives its last day, and a revocation stays unheard at worst."""

_REMEMBERED = 10_000
"""Credentials that are remembered at most."""


@dataclass(frozen=True, slots=True)
class Credential:
    """An API token's secret, or a session's id."""

    kind: str
    """``token`` or ``session``."""
    value: str

    def user(self, database: Database) -> User | None:
        """Whose it is; None where it is worth nothing (any more). One query."""
        find = users.by_token if self.kind == "token" else users.by_login
        return database.read(find, self.value)


class CredentialCache:
    """Whose a credential is: looked up, then remembered for a few seconds.

    It remembers only while this process hears of every revocation as it happens, and
    only what no revocation may have overtaken. So a credential that has ended is
    refused at once here, and elsewhere as soon as the announcement is there. Without
    Redis each request costs its query again.
    """

    def __init__(
        self,
        database: Database,
        revocations: Revocations,
        clock: Callable[[], float] = time.monotonic,
        size: int = _REMEMBERED,
    ) -> None:
        self._database = database
        self._revocations = revocations
        self._clock = clock
        self._size = size
        self._known: dict[Credential, tuple[float, User]] = {}
        """Until when, and whose; the oldest first."""
        self._hearing = False
        self._changes = 0
        """Grows with each revocation, and when hearing begins or ends."""
        self.lookups = 0
        """Times that the database was asked."""

    def listen(self) -> None:
        """Begin to hear of revocations, and so to remember (gevent)."""
        self._revocations.listen(self._forget, self._hear, self._go_deaf)

    def resolve(self, credential: Credential) -> User | None:
        """Whose it is; None where it is worth nothing (any more). Raises StoreUnavailable."""
        until, user = self._known.get(credential, (0.0, None))
        return user if self._clock() < until else self._look_up(credential)

    def revoked(self, user_id: str) -> None:
        """Credentials of a user have ended, and that is committed: nobody may remember them."""
        self._forget(user_id)
        after_commit(self._announce, user_id)

    def _announce(self, user_id: str) -> None:
        try:
            self._revocations.announce(user_id)
        except StreamUnavailable:
            pass  # the others hear nothing either then, and remember nothing

    def _look_up(self, credential: Credential) -> User | None:
        asked_at, changes = self._clock(), self._changes
        self.lookups += 1
        user = credential.user(self._database)
        if user is not None and self._hearing and changes == self._changes:
            self._remember(credential, user, asked_at + _REMEMBERED_FOR)
        return user

    def _remember(self, credential: Credential, user: User, until: float) -> None:
        self._known.pop(credential, None)
        if len(self._known) >= self._size:
            del self._known[next(iter(self._known))]
        self._known[credential] = (until, user)

    def _forget(self, user_id: str) -> None:
        self._changes += 1
        self._known = {shown: known for shown, known in self._known.items() if known[1].id != user_id}

    def _hear(self) -> None:
        self._changes += 1
        self._hearing = True

    def _go_deaf(self) -> None:
        self._changes += 1
        self._hearing = False
        self._known.clear()
