"""Credentials: what a request is authenticated by, and a cache of their users."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from runtime.dispatch import after_commit
from runtime.duties import Duties
from runtime.errors import StreamUnavailable
from runtime.model import User
from runtime.panel import tokens as agent_tokens
from runtime.sessions import tokens as thread_tokens
from runtime.store import Database, users
from runtime.stream import Revocations
from runtime.tokens import Grant, ThreadGrant

_CACHED_FOR = 5.0
"""Seconds. Also how long an expired session, or at worst a revoked one, is still accepted."""

_MAX_CACHED = 10_000
"""Credentials that are cached at most."""


@dataclass(frozen=True, slots=True)
class Credential:
    """An API token's secret, the id of a login, that of a thread's session, or an embedder's user."""

    kind: str
    """``token``, ``session`` (a login), ``thread`` or ``agent``."""
    value: str
    grant: Grant | None = None
    """All that it permits, of kind ``thread`` or ``agent``; None: all that its user may."""

    def user(self, database: Database) -> User | None:
        """Its user; None if it is unknown, expired or revoked. One query."""
        if isinstance(self.grant, ThreadGrant):
            return database.read(thread_tokens.subject, self.grant)
        if self.grant is not None:
            return database.read(agent_tokens.account, self.grant)
        find = users.by_token if self.kind == "token" else users.by_login
        return database.read(find, self.value)


class CredentialCache:
    """The user of each credential, looked up once and cached for a few seconds.

    It caches only while this process is subscribed to revocations, and never a look-up
    during which one arrived. So a revoked credential is refused at once by the process
    that revokes it, and by others as soon as they receive the announcement. Without Redis
    nothing is cached, and each request costs a query.
    """

    def __init__(
        self,
        database: Database,
        revocations: Revocations,
        clock: Callable[[], float] = time.monotonic,
        size: int = _MAX_CACHED,
    ) -> None:
        self._database = database
        self._revocations = revocations
        self._clock = clock
        self._size = size
        self._cached: dict[Credential, tuple[float, User]] = {}
        """Each with the time until which it is valid, and its user; the oldest first."""
        self._subscribed = False
        self._changes = 0
        """Grows with each revocation, and when the subscription begins or ends."""
        self.lookups = 0
        """How often the database was asked."""

    def listen(self, duties: Duties) -> None:
        """Subscribe to revocations, and so begin to cache; one of the ``duties`` of this process."""
        self._revocations.listen(self._drop, self._subscribe, self._unsubscribe, duties)

    def resolve(self, credential: Credential) -> User | None:
        """Its user; None if it is unknown, expired or revoked. Raises StoreUnavailable."""
        until, user = self._cached.get(credential, (0.0, None))
        return user if self._clock() < until else self._look_up(credential)

    def revoked(self, user_id: str) -> None:
        """Drop a user's credentials here and everywhere, after a revocation has been committed."""
        self._drop(user_id)
        after_commit(self._announce, user_id)

    def _announce(self, user_id: str) -> None:
        try:
            self._revocations.announce(user_id)
        except StreamUnavailable:
            pass  # without Redis the other processes are not subscribed, and cache nothing

    def _look_up(self, credential: Credential) -> User | None:
        asked_at, changes = self._clock(), self._changes
        self.lookups += 1
        user = credential.user(self._database)
        if user is not None and self._subscribed and changes == self._changes:
            self._cache(credential, user, asked_at + _CACHED_FOR)
        return user

    def _cache(self, credential: Credential, user: User, until: float) -> None:
        self._cached.pop(credential, None)
        if len(self._cached) >= self._size:
            del self._cached[next(iter(self._cached))]
        self._cached[credential] = (until, user)

    def _drop(self, user_id: str) -> None:
        self._changes += 1
        self._cached = {key: entry for key, entry in self._cached.items() if entry[1].id != user_id}

    def _subscribe(self) -> None:
        self._changes += 1
        self._subscribed = True

    def _unsubscribe(self) -> None:
        self._changes += 1
        self._subscribed = False
        self._cached.clear()
