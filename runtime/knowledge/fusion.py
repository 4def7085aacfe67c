"""One ranking of several: reciprocal rank fusion.

Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
Methods", SIGIR 2009. A passage counts 1 / (k + its place) in each ranking that has it, with their k of 60.
What a full text search and the angle between two vectors score cannot be compared; places can.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

K = 60
"""How little the first places count more than later ones."""
DEPTH = 50
"""Places of each ranking that count."""


def fuse(rankings: Iterable[Sequence[int]]) -> dict[int, float]:
    """What each passage scores that one of the rankings has, each of which begins with the best one."""
    scores: dict[int, float] = defaultdict(float)
    for ranking in rankings:
        for place, passage in enumerate(ranking, 1):
            scores[passage] += 1 / (K + place)
    return scores
