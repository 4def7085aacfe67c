"""How many looks into an empty inbox are committed ahead of time."""

from __future__ import annotations

import pytest

from runtime.pool.empty_looks import PERIOD, EmptyLooks


class Loop:
    """A worker that looks each ``pause`` seconds, and finds nothing."""

    def __init__(self, pause: float) -> None:
        self.now = 0.0
        self.pause = pause
        self.looks = 0
        self.writes: list[float] = []
        self.empty = EmptyLooks(lambda: self.now)

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.looks += 1
            if not self.empty.contain(self.looks):
                ahead = self.empty.ahead(self.looks)
                self.empty.add(self.looks, ahead)
                self.writes.append(self.now)
            self.now += self.pause


@pytest.mark.parametrize("pause", [0.0005, 0.001, 0.01, 0.03])
def test_looks_in_a_loop_cost_few_writes(pause: float) -> None:
    loop = Loop(pause)
    loop.run(10)

    assert len(loop.writes) < 10 * (1 / PERIOD) * 2
    assert loop.looks > 300


@pytest.mark.parametrize("pause", [0.0005, 0.03])
def test_what_is_committed_ahead_is_no_more_than_is_made_in_two_periods(pause: float) -> None:
    loop = Loop(pause)
    loop.run(1)

    assert loop.empty.committed - loop.looks <= 2 * PERIOD / pause


@pytest.mark.parametrize("pause", [0.15, 1, 60])
def test_a_look_now_and_then_always_asks_the_database(pause: float) -> None:
    loop = Loop(pause)
    loop.run(100 * pause)

    assert len(loop.writes) == loop.looks
    assert loop.empty.committed == loop.looks


def test_an_inbox_is_not_known_to_be_empty_for_longer_than_a_period() -> None:
    loop = Loop(0.001)
    loop.run(1)
    loop.now += PERIOD

    assert not loop.empty.contain(loop.looks + 1)


def test_after_a_message_each_look_asks_again() -> None:
    loop = Loop(0.001)
    loop.run(1)
    loop.empty.forget()

    assert not loop.empty.contain(loop.looks + 1)
    assert loop.empty.ahead(loop.looks + 1) == 0
