"""How many requests of one kind are served at once, and how many of them for one user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from runtime.errors import TooMany
from web.http.lanes import Lane

FULL = "Too many of these."


@contextmanager
def held(lane: Lane, *users: str) -> Iterator[None]:
    """A slot for each of these users."""
    with ExitStack() as stack:
        for user in users:
            stack.enter_context(lane.hold(user))
        yield


def is_full(lane: Lane, user: str) -> bool:
    try:
        with lane.hold(user):
            return False
    except TooMany:
        return True


def test_a_user_has_a_share_and_the_others_have_the_rest() -> None:
    lane = Lane(3, 2, 0, FULL)

    with held(lane, "ada", "ada"):
        with pytest.raises(TooMany, match=FULL), lane.hold("ada"):
            pass
        assert not is_full(lane, "bob")
        with held(lane, "bob"):
            assert is_full(lane, "eve")
    assert not is_full(lane, "ada")


def test_a_slot_is_free_again_after_an_error() -> None:
    lane = Lane(1, 1, 0, FULL)

    with pytest.raises(LookupError), lane.hold("ada"):
        raise LookupError
    assert not is_full(lane, "ada")
    assert not is_full(lane, "bob")


def test_a_user_who_waits_in_vain_keeps_no_slot_and_leaves_nothing_behind() -> None:
    lane = Lane(2, 1, 0, FULL)

    with held(lane, "ada"):
        assert all(is_full(lane, "ada") for _ in range(5))
        assert not is_full(lane, "bob")
    assert not lane._users
