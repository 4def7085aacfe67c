"""Which passages are ranked: those with rare words, and few of the others."""

from __future__ import annotations

from itertools import product

import pytest

from runtime.knowledge.ranking import FEW, MOST, Wanted, choose, weights


def never(_: Wanted) -> float:
    pytest.fail("nothing is to be counted")


def test_all_words_count_as_rare_where_few_passages_have_them() -> None:
    assert choose({"b": 20, "a": 10}, never) == Wanted(["a", "b"])


def test_a_frequent_word_selects_nothing_beside_rare_ones_and_itself_where_it_is_all() -> None:
    assert choose({"the": 90_000, "rare": 10}, never) == Wanted(["rare"])
    assert choose({"the": 90_000}, never) == Wanted([], 1, ["the"])


def test_as_many_frequent_words_are_wanted_as_leave_few_passages() -> None:
    frequencies = {word: MOST + number for number, word in enumerate("abcd", 1)}

    assert choose(frequencies, lambda one: MOST * 3 / one.number) == Wanted([], 3, list("abcd"))
    assert choose(frequencies, lambda _: MOST + 1) == Wanted([], 4, list("abcd"))


@pytest.mark.parametrize(("rare", "number"), [(FEW, 0), (FEW - 1, 2)], ids=["enough", "too few"])
def test_passages_with_a_rare_word_are_enough_where_the_others_are_too_many(rare: int, number: int) -> None:
    chosen = choose({"rare": rare, "a": MOST, "b": MOST}, lambda _: MOST + 1)

    assert (chosen.rare, chosen.number) == (["rare"], number)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_query_says_the_same_as_is_met_by(number: int) -> None:
    wanted = Wanted(["r"], number, list("abcd"))
    query = compile(wanted.render(" and ", " or "), "query", "eval")

    for values in product([False, True], repeat=5):
        has = dict(zip("rabcd", values, strict=True))
        assert eval(query, {}, has) == wanted.is_met_by(has.__getitem__)  # noqa: S307  our own query


def test_a_word_counts_the_less_the_more_passages_have_it() -> None:
    found = weights({"one": 1, "half": 500, "all": 1000, "estimated": 1200}, 1000)

    assert found["one"] > found["half"] > found["all"] > 0
    assert found["estimated"] > 0
