"""The clock of this process, once it knows how far it is from the database's."""

from __future__ import annotations

import time

import pytest

from runtime.system import clock


@pytest.fixture(autouse=True)
def _own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_ahead", 0.0)


def taken_off() -> float:
    """Seconds."""
    return round(time.time() - clock.time(), 1)


@pytest.mark.parametrize("ahead", [5.0, -5.0, 0.6])
def test_a_difference_is_taken_off_until_it_is_gone(ahead: float) -> None:
    clock.note_skew(ahead, within=0.01)
    assert taken_off() == ahead

    clock.note_skew(0.01, within=0.01)
    assert taken_off() == 0


def test_a_small_difference_is_left() -> None:
    clock.note_skew(0.4, within=0.001)
    assert taken_off() == 0


def test_what_took_long_to_measure_is_not_believed() -> None:
    clock.note_skew(5.0, within=0.01)
    clock.note_skew(0.0, within=2.0)
    assert taken_off() == 5.0
