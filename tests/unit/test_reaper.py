"""A reaper runs its duties in rounds, whatever one of them meets."""

from __future__ import annotations

import logging

import pytest

from runtime.errors import StoreUnavailable
from runtime.maintenance.reaper import Reaper


def test_a_round_runs_every_duty_in_order_although_one_fails(caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []

    def fail() -> None:
        ran.append("second")
        raise StoreUnavailable

    reaper = Reaper(
        {"one": lambda: ran.append("first"), "two": fail, "three": lambda: ran.append("third")}, 1
    )
    with caplog.at_level(logging.WARNING):
        reaper.run_round()
        reaper.run_round()

    assert ran == ["first", "second", "third"] * 2
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["two", "two"]
