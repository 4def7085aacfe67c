"""Chaos for a few seconds: random faults under load, and a ledger that misses nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos import chaos, report

SECONDS = 6.0
ASKS = 14
FAULTS = 7


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("database", "seed"),
    [("empty_postgresql_url", 1615), pytest.param("sqlite_url", None, marks=pytest.mark.soak)],
)
def test_nothing_is_lost_or_doubled_whatever_fails(
    request: pytest.FixtureRequest, tmp_path: Path, database: str, seed: int | None
) -> None:
    """``seed`` None: another one each time; the report says which."""
    url = request.getfixturevalue(database)
    home = tmp_path / "home"
    home.mkdir()
    chosen = random.randrange(10**6) if seed is None else seed
    plan = chaos.make_plan(chosen, SECONDS, ASKS, FAULTS, url, own=False)

    outcome = chaos.run(plan, home, url)

    print(report.summary(outcome))
    assert not outcome.violations, report.stories(outcome)
    assert len(outcome.ledger.accepted) == ASKS
