"""Signed tokens, by which a worker's run, a signed-in program and those authenticate who may use little.

The cursors that a run's API hands out are signed too: what they point to is read directly,
without a check that it belongs to the run's history.

They are JSON Web Tokens with HS256. Each kind has its own key, derived from the secret
key, so that one kind cannot be used as another. A token only identifies; whether it has
been revoked is looked up each time.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jwt

from runtime.settings import Settings

_ALGORITHM = "HS256"

LONGEST = 30 * 86_400
"""Seconds for which a token may count that is given to others."""

CLOCK_SKEW = 60
"""Seconds by which the clocks of two processes may differ without one refusing what the other has signed."""


@dataclass(frozen=True, slots=True)
class RunGrant:
    """What the token of a run's attempt permits."""

    run_id: str
    attempt: int
    grants: tuple[str, ...] | None = None
    """What worker.toml grants, of the version that executes the attempt; None: its pool did not say."""


def run_token(settings: Settings, run_id: str, attempt: int, grants: Sequence[str] | None = None) -> str:
    """Authenticates the child of one attempt; invalid once the attempt has ended."""
    claims: dict[str, Any] = {"run": run_id, "attempt": attempt, "typ": "run"}
    if grants is not None:
        claims["grants"] = list(grants)
    return jwt.encode(claims, _key(settings, "run"), algorithm=_ALGORITHM)


def read_run_token(settings: Settings, text: str) -> RunGrant | None:
    """What a run token permits; None if it is not genuine."""
    claims = _read(settings, "run", text, "run", "attempt")
    if claims is None:
        return None
    grants = claims.get("grants")
    return RunGrant(claims["run"], claims["attempt"], None if grants is None else tuple(grants))


def run_cursor(settings: Settings, run_id: str, cursor: str) -> str:
    """Signs a cursor into the history of this run, so that it is valid for no other."""
    claims = {"run": run_id, "cursor": cursor, "typ": "cursor"}
    return jwt.encode(claims, _key(settings, "cursor"), algorithm=_ALGORITHM)


def read_run_cursor(settings: Settings, run_id: str, text: str) -> str | None:
    """The cursor; None if it is not genuine, or of another run."""
    claims = _read(settings, "cursor", text, "run", "cursor")
    return claims["cursor"] if claims and claims["run"] == run_id else None


def session_token(settings: Settings, session_id: str) -> str:
    """A short-lived bearer token for a session."""
    claims = {
        "sid": session_id,
        "typ": "session",
        "exp": int(time.time()) + settings.security.jwt_minutes * 60,
    }
    return jwt.encode(claims, _key(settings, "session"), algorithm=_ALGORITHM)


def read_session_token(settings: Settings, text: str) -> str | None:
    """Session id of a session's token; None if it is not genuine, or expired over a minute ago."""
    claims = _read(settings, "session", text, "sid")
    return claims["sid"] if claims else None


@dataclass(frozen=True, slots=True)
class ThreadGrant:
    """What the token of a thread's session permits: that thread, and nothing else."""

    session_id: str
    thread_id: str
    user_id: str
    """Whom it stands for."""
    writes: bool
    """False: it only reads."""
    generation: int
    """Of the session's tokens; revoking them begins the next one."""
    expires_at: int
    """Seconds since 1970, by the database's clock."""

    @property
    def scope(self) -> str:
        """``write`` or ``read``."""
        return "write" if self.writes else "read"

    @property
    def holder(self) -> str:
        """Who has it, for what is named for each of them."""
        return self.session_id


@dataclass(frozen=True, slots=True)
class AgentGrant:
    """What the token of an embedder's own user permits: that user's agent chats, and nothing else."""

    user_id: str
    """The account whose agents they are, and whom it stands for."""
    subject: str
    """The embedder's name for its user."""
    agent_types: tuple[str, ...]
    """The types of agents that chats may be begun with."""
    generation: int
    """Of the subject's tokens; revoking them begins the next one."""
    expires_at: int
    """Seconds since 1970, by the database's clock."""

    @property
    def holder(self) -> str:
        """Who has it, for what is counted or named for each of an account's users."""
        return f"{self.user_id} {self.subject}"


Grant = ThreadGrant | AgentGrant


def agent_token(settings: Settings, grant: AgentGrant) -> str:
    """A bearer token for what ``grant`` permits."""
    claims = {
        "account": grant.user_id,
        "sub": grant.subject,
        "types": grant.agent_types,
        "gen": grant.generation,
        "exp": grant.expires_at,
        "typ": "agent",
    }
    return jwt.encode(claims, _key(settings, "agent"), algorithm=_ALGORITHM)


def read_agent_token(settings: Settings, text: str) -> AgentGrant | None:
    """What a token permits; None if it is not genuine, or expired over a minute ago."""
    claims = _read(settings, "agent", text, "account", "sub", "types", "gen", "exp")
    if claims is None:
        return None
    types = tuple(claims["types"])
    return AgentGrant(claims["account"], claims["sub"], types, claims["gen"], claims["exp"])


def thread_token(settings: Settings, grant: ThreadGrant) -> str:
    """A bearer token for what ``grant`` permits."""
    claims = {
        "sid": grant.session_id,
        "thread": grant.thread_id,
        "sub": grant.user_id,
        "scope": grant.scope,
        "gen": grant.generation,
        "exp": grant.expires_at,
        "typ": "thread",
    }
    return jwt.encode(claims, _key(settings, "thread"), algorithm=_ALGORITHM)


def read_thread_token(settings: Settings, text: str) -> ThreadGrant | None:
    """What a token permits; None if it is not genuine, or expired over a minute ago."""
    claims = _read(settings, "thread", text, "sid", "thread", "sub", "scope", "gen", "exp")
    if claims is None:
        return None
    writes = claims["scope"] == "write"
    return ThreadGrant(claims["sid"], claims["thread"], claims["sub"], writes, claims["gen"], claims["exp"])


def _read(settings: Settings, kind: str, text: str, *needed: str) -> dict[str, Any] | None:
    for key in settings.accepted_keys:
        try:
            claims: dict[str, Any] = jwt.decode(
                text,
                _derived(key, kind),
                algorithms=[_ALGORITHM],
                options={"require": list(needed)},
                leeway=CLOCK_SKEW,
            )
        except jwt.InvalidTokenError:
            continue
        return claims if claims.get("typ") == kind else None
    return None


def _key(settings: Settings, kind: str) -> bytes:
    return _derived(settings.secret_key, kind)


@lru_cache(maxsize=16)
def _derived(key: str, kind: str) -> bytes:
    return hmac.digest(key.encode(), f"branchline {kind} token".encode(), hashlib.sha256)
