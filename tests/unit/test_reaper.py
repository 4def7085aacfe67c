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
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["two"], "once an absence"


def test_a_duty_that_fails_keeps_no_other_waiting_and_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ran: list[str] = []

    def fail() -> None:
        ran.append("first")
        raise ValueError("nobody expected this")

    reaper = Reaper({"first": fail, "second": lambda: ran.append("second")}, 1)
    reaper.run_round()
    reaper.run_round()  # too early for the first

    assert ran == ["first", "second", "second"]
    assert reaper.duties.failing() == ["first"]
    assert "the duty 'first' failed" in caplog.text
    assert "nobody expected this" in caplog.text
