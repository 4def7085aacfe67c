"""Passwords: what their checking tells to whoever measures it."""

from __future__ import annotations

import time

from web.passwords import Passwords


def test_an_unknown_account_takes_as_long_as_a_wrong_password() -> None:
    passwords = Passwords()
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
