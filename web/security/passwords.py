"""Passwords: hashed by argon2, off the event loop."""

from __future__ import annotations

from functools import cached_property

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from runtime.system.greenlets import ThreadPool
from web.http.slots import Slots

_AT_ONCE = 4
"""Hashes at a time; each takes 64 MiB."""


class Passwords:
    """Hashes passwords and verifies them."""

    def __init__(self, patience: float, hasher: argon2.PasswordHasher | None = None) -> None:
        """``patience``: seconds to wait while others are hashed.

        ``hasher``: one with other costs than argon2-cffi recommends.
        """
        self._threads = ThreadPool(_AT_ONCE)
        self._slots = Slots(_AT_ONCE, patience, "Too many people are signing in. Try again in a moment.")
        self._hasher = hasher or argon2.PasswordHasher()

    def hash(self, password: str) -> str:
        """A hash to store. Raises TooMany."""
        with self._slots:
            return str(self._threads.call(self._hasher.hash, _bytes(password)))

    def verify(self, stored: str | None, password: str) -> bool:
        """Whether ``password`` is right. Takes as long where there is no account (None). Raises TooMany."""
        with self._slots:
            matches = self._threads.call(self._matches, stored, _bytes(password))
        return stored is not None and bool(matches)

    def _matches(self, stored: str | None, password: bytes) -> bool:
        try:
            return self._hasher.verify(stored or self._of_nobody, password)
        except (VerificationError, InvalidHashError):
            return False

    @cached_property
    def _of_nobody(self) -> str:
        return self._hasher.hash(b"nobody's")


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
