"""Which passages are ranked, and what a word counts: the same on both databases.

To rank every passage that has a word of the query takes as long as there are such passages, and most of
them have nothing but its most frequent word. What decides is its rare words (as WAND and MaxScore have it,
Turtle and Flood 1995). So a passage is ranked if it has a rare word, or several of the others, as many as
leave few enough. What it scores is counted over all words then. Where these are fewer than are asked for,
passages with any of the words take the places that are left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

MOST = 2500
"""Passages that are meant to be ranked."""
FEW = 200
"""Passages with a rare word that are enough, where the others would be more than are meant to be."""
LENGTH = 0.35
"""How much the length of a passage counts (the b of BM25): a long one has more words anyway."""
_COMBINED = 4
"""Words of which several are looked for. More make the query long, and are frequent ones."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a passage has that is ranked: one of ``rare``, or ``number`` of ``others``."""

    rare: Sequence[str]
    number: int = 0
    others: Sequence[str] = ()

    def render(self, both: str, either: str) -> str:
        """As a query, in which ``both`` and ``either`` stand for the two operators."""
        several = [f"({_at_least(self.number, self.others, both, either)})"] if self.others else []
        return either.join((*self.rare, *several))

    def is_met_by(self, has: Callable[[str], object]) -> bool:
        """Whether a passage is ranked, of which ``has`` says whether it has a word."""
        if any(map(has, self.rare)):
            return True
        return bool(self.others) and sum(1 for word in self.others if has(word)) >= self.number

    def is_any_of(self, words: Collection[str]) -> bool:
        """Whether every passage that has one of the words is ranked."""
        enough = {*self.rare, *(self.others if self.number == 1 else ())}
        return enough.issuperset(words)


def any_of(words: Iterable[str]) -> Wanted:
    """What has at least one of the words."""
    return Wanted([], 1, [*words])


def weights(frequencies: Mapping[str, float], total: float) -> dict[str, float]:
    """What each word counts, by how many of all passages have it: its inverse document frequency."""
    return {
        word: math.log1p((max(total, found) - found + 0.5) / (found + 0.5))
        for word, found in frequencies.items()
    }


def choose(frequencies: Mapping[str, float], size: Callable[[Wanted], float]) -> Wanted:
    """Which passages are ranked.

    ``frequencies``: how many have each word; ``size`` says how many would be ranked.
    """
    words = sorted(frequencies, key=lambda word: frequencies[word])
    rare: list[str] = []
    found = 0.0
    for word in words:
        if found + frequencies[word] > MOST:
            break
        found += frequencies[word]
        rare.append(word)
    others = words[len(rare) :][:_COMBINED]
    if len(others) < 2:
        return Wanted(rare) if rare else Wanted([], 1, others)
    for number in range(2, len(others) + 1):
        wanted = Wanted(rare, number, others)
        if size(wanted) <= MOST:
            return wanted
    return Wanted(rare) if found >= FEW else wanted


def _at_least(number: int, words: Sequence[str], both: str, either: str) -> str:
    """A query for passages with so many of the words."""
    if number == 1:
        return either.join(words)
    if number == len(words):
        return both.join(words)
    first, rest = words[0], words[1:]
    with_first = f"({first}{both}({_at_least(number - 1, rest, both, either)}))"
    return f"{with_first}{either}({_at_least(number, rest, both, either)})"
