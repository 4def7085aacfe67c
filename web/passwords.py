"""Passwords: hashed by argon2, off the event loop."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

_AT_ONCE = 4
"""Hashes at a time; each takes 64 MiB."""


class Passwords:
    """Makes and checks hashes. Under gevent in threads, so that streams flow on meanwhile."""

    def __init__(self) -> None:
        self._hasher = argon2.PasswordHasher()

    def hash(self, password: str) -> str:
        """A hash to store."""
        return str(self._aside(self._hasher.hash, _bytes(password)))

    def verify(self, stored: str | None, password: str) -> bool:
        """Whether ``password`` is right. Takes as long where there is no account (None)."""
        matches = self._aside(self._matches, stored, _bytes(password))
        return stored is not None and bool(matches)

    def _matches(self, stored: str | None, password: bytes) -> bool:
        try:
            return self._hasher.verify(stored or self._of_nobody, password)
        except (VerificationError, InvalidHashError):
            return False

    def _aside(self, function: Callable[..., Any], *args: Any) -> Any:
        monkey = sys.modules.get("gevent.monkey")
        if monkey is None or not monkey.is_module_patched("socket"):
            return function(*args)
        return self._threads.apply(function, args)

    @cached_property
    def _of_nobody(self) -> str:
        return self._hasher.hash(b"nobody's")

    @cached_property
    def _threads(self) -> Any:
        from gevent.threadpool import ThreadPool

        return ThreadPool(_AT_ONCE)


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
