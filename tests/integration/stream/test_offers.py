"""Offers of machines elsewhere, against a real Redis."""

from __future__ import annotations

import pytest

from runtime.stream import Link, Offers
from runtime.testing.waiting import until

POOL = "remote"


@pytest.fixture
def offers(link: Link) -> Offers:
    return Offers(link)


def test_an_offer_is_taken_once_and_given_a_run(offers: Offers) -> None:
    offers.make(POOL, "a", 30)
    offers.make(POOL, "a", 30)
    assert (offers.count(POOL), offers.count("another")) == (1, 0)

    assert offers.take(POOL) == "a"
    offers.make(POOL, "a", 30)

    assert (offers.take(POOL), offers.count(POOL)) == (None, 0)
    assert not offers.withdraw(POOL, "a")
    assert offers.handed_over(POOL, "a") is None
    offers.hand_over(POOL, "a", b"a run")
    assert offers.handed_over(POOL, "a") == offers.handed_over(POOL, "a") == b"a run"


def test_an_offer_that_was_taken_for_nothing_is_free_again(offers: Offers) -> None:
    offers.make(POOL, "a", 30)
    offers.take(POOL)

    offers.give_back(POOL, "a", 30)

    assert offers.take(POOL) == "a"


def test_an_offer_that_was_ended_is_not_made_again(offers: Offers) -> None:
    assert offers.make(POOL, "a", 30)
    assert offers.end(POOL, "a")

    assert not offers.make(POOL, "a", 30)
    assert (offers.count(POOL), offers.take(POOL)) == (0, None)

    assert offers.make(POOL, "b", 30)
    assert offers.take(POOL) == "b"
    assert not offers.end(POOL, "b")
    assert offers.make(POOL, "b", 30), "a run follows"


def test_an_offer_ends_when_it_is_withdrawn_or_its_time_is_over(offers: Offers) -> None:
    offers.make(POOL, "a", 30)
    assert offers.withdraw(POOL, "a")
    assert offers.count(POOL) == 0

    offers.make(POOL, "b", 0.1)
    until(lambda: offers.count(POOL) == 0, 10)
    assert offers.take(POOL) is None
