"""Passwords: what their checking tells to whoever measures it, and how many are hashed at once."""

from __future__ import annotations

import time
from typing import cast

import argon2
import pytest

from runtime.errors import TooMany
from web.security.passwords import Passwords


def test_a_password_check_is_refused_while_too_many_are_under_way() -> None:
    under_way: list[str | bytes] = []

    class Slow:
        """Has not hashed the one when the next comes."""

        def hash(self, password: str | bytes) -> str:
            under_way.append(password)
            return passwords.hash("the next")

    passwords = Passwords(0, cast(argon2.PasswordHasher, Slow()))

    for _ in range(2):  # the first time has left no place taken
        under_way.clear()
        with pytest.raises(TooMany):
            passwords.hash("the first")
        assert len(under_way) == 4


def test_an_unknown_account_takes_as_long_as_a_wrong_password() -> None:
    passwords = Passwords(10)
    stored = passwords.hash("right")
    assert not passwords.verify(None, "nobody's")  # the first makes the hash that stands for it

    unknown, wrong = quickest(passwords, None), quickest(passwords, stored)

    assert 0.5 < unknown / wrong < 2


def quickest(passwords: Passwords, stored: str | None) -> float:
    """Seconds of the quickest of some checks, in which nothing else came between."""
    times = []
    for _ in range(7):
        began = time.process_time()
        assert not passwords.verify(stored, "wrong")
        times.append(time.process_time() - began)
    return min(times)
