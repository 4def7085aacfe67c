"""Signed tokens: what a worker's run, and a program that signed in, show to the API.

A run's cursors are signed too, for what they name is read without a walk to it.

JSON Web Tokens with HS256. Each kind has a key of its own, derived from the
secret key, so that none can be taken for another. A token says who somebody is;
whether that still holds is looked up each time.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from functools import lru_cache
from typing import Any

import jwt

from runtime.settings import Settings

_ALGORITHM = "HS256"


def run_token(settings: Settings, run_id: str, attempt: int) -> str:
    """What lets a child speak for one attempt of its run. It dies with the attempt."""
    return jwt.encode(
        {"run": run_id, "attempt": attempt, "typ": "run"}, _key(settings, "run"), algorithm=_ALGORITHM
    )


def read_run_token(settings: Settings, text: str) -> tuple[str, int] | None:
    """Run id and attempt of a run token; None where it is not genuine."""
    claims = _read(settings, "run", text, "run", "attempt")
    return (claims["run"], claims["attempt"]) if claims else None


def run_cursor(settings: Settings, run_id: str, cursor: str) -> str:
    """A cursor that leads on in the history of this run, and in no other."""
    claims = {"run": run_id, "cursor": cursor, "typ": "cursor"}
    return jwt.encode(claims, _key(settings, "cursor"), algorithm=_ALGORITHM)


def read_run_cursor(settings: Settings, run_id: str, text: str) -> str | None:
    """The cursor; None where it is not genuine, or another run's."""
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
    """Session id of a session's token; None where it is not genuine, or too old."""
    claims = _read(settings, "session", text, "sid")
    return claims["sid"] if claims else None


def _read(settings: Settings, kind: str, text: str, *needed: str) -> dict[str, Any] | None:
    try:
        claims: dict[str, Any] = jwt.decode(
            text, _key(settings, kind), algorithms=[_ALGORITHM], options={"require": list(needed)}
        )
    except jwt.InvalidTokenError:
        return None
    return claims if claims.get("typ") == kind else None


@lru_cache(maxsize=16)
def _key(settings: Settings, kind: str) -> bytes:
    return hmac.digest(settings.secret_key.encode(), f"branchline {kind} token".encode(), hashlib.sha256)
