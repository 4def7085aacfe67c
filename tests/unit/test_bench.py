"""The benchmarks keep to their time, and their table says what was measured."""

from __future__ import annotations

import pytest

from bench import new_worker, schedule
from bench.figures import Figures
from bench.schedule import Schedule
from runtime.registry import WorkerType


class Clock:
    """A clock that goes on only when told."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(schedule, "time", clock)
    return clock


def rounds(clock: Clock, found: Schedule, needed: float, each: float) -> int:
    count = 0
    for _ in found.rounds(5, needed):
        clock.now += each
        count += 1
    return count


def test_a_quick_measure_gets_all_rounds_and_leaves_its_time_to_later_ones(clock):
    plan = Schedule(60, needed=60)

    assert rounds(clock, plan, 30, each=2) == 5
    assert rounds(clock, plan, 30, each=10) == 5  # of the 50 seconds that are left
    assert clock.now == 160


def test_a_slow_measure_gets_fewer_rounds_but_at_least_one(clock):
    plan = Schedule(60, needed=60)

    assert rounds(clock, plan, 30, each=12) == 2
    assert rounds(clock, plan, 30, each=50) == 1


def test_setup_is_charged_to_its_own_share_of_the_time(clock):
    plan = Schedule(60, needed=60)
    clock.now += 30
    plan.passed(30)

    assert rounds(clock, plan, 30, each=6) == 5


def test_the_table_shows_medians_spread_floors_and_the_prototype():
    figures = Figures()
    for value in (1.0, 2.0, 3.0):
        figures.add("bare", "ms", value)
        figures.add("start", "ms", 2 * value, samples=10, target="≤ 8", floors=("bare",))
        figures.add("start", "ms", value, is_prototype=True)

    last = figures.table().splitlines()[-1]

    assert last == "| start | ms | ≤ 8 | **4** | 2–6 | 3 × 10 | 2 | 2.00 | 2 (1–3) | 2.00 |"


def test_a_new_worker_of_every_type_is_measured_that_a_pool_executes():
    measured = {kind.options[1] for kind in new_worker.KINDS}

    assert measured == set(WorkerType) - {WorkerType.REMOTE} == set(new_worker.POOLS)
