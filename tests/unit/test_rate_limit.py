"""The rate limit where it has to do without Redis, and what it counts an address as."""

from __future__ import annotations

from typing import cast

import pytest

from runtime.errors import StreamUnavailable, TooMany
from runtime.stream import SlidingWindow
from web.http.addresses import network
from web.security.rate_limit import RateLimit


class Shared:
    """Stands for the count in Redis, which comes and goes."""

    def __init__(self) -> None:
        self.away = True
        self.asked = 0

    def count(self, name: str) -> float:
        self.asked += 1
        if self.away:
            raise StreamUnavailable
        return 0.0


class Room:
    """A limit of two attempts a minute, with a clock that the test turns."""

    def __init__(self) -> None:
        self.time = 0.0
        self.shared = Shared()
        self.limit = RateLimit(cast(SlidingWindow, self.shared), 2, clock=lambda: self.time)

    def refused(self, *names: str) -> int | None:
        """The seconds to wait; None for a try that was let through."""
        try:
            self.limit.check(*names)
        except TooMany as error:
            return error.retry_after
        return None


@pytest.fixture
def room() -> Room:
    return Room()


def test_a_local_window_moves_on_while_redis_is_away(room: Room) -> None:
    assert room.refused("ada") is None
    room.time += 20
    assert [room.refused("ada"), room.refused("ada"), room.refused("bob")] == [None, 40, None]
    room.time += 40
    assert [room.refused("ada"), room.refused("ada")] == [None, 20]


def test_an_attempt_is_refused_when_one_of_its_names_is_over_the_limit(room: Room) -> None:
    room.limit.check("ada", "here")
    room.limit.check("ada", "there")

    assert room.refused("elsewhere", "ada") == 60


def test_redis_is_asked_again_only_after_a_pause(room: Room) -> None:
    for _ in range(2):
        room.refused("ada")
    assert room.shared.asked == 1

    room.shared.away = False
    room.time += 10
    assert [room.refused("ada") for _ in range(2)] == [None, None]
    assert room.shared.asked == 3


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("no address", "unknown"),
        (None, "unknown"),
    ],
)
def test_an_address_is_counted_as_its_network(address: str | None, counted_as: str) -> None:
    assert network(address) == counted_as
