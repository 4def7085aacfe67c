"""The full text search on SQLite.

FTS5 says in microseconds which passages have a word; its BM25 reads all that any passage has of each word
for every search. So what is taken from it is which passages have which words, and the best of them are
ranked here, by their texts.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from uuid import UUID

import sqlalchemy as sa
from orjson import loads
from sqlalchemy import Connection

from runtime.knowledge import ranking, words
from runtime.knowledge.ranking import Wanted
from runtime.knowledge.tables import documents, passages, sources

_RANKED_WELL = 200
"""Of the passages that are ranked by which words they have, so many are by how often, too."""
_FREQUENT = 0.3
"""Words that a greater share of the passages have count only where passages are ranked by how often."""
_INDEX = sa.table("knowledge_words", sa.column("rowid"), sa.column("knowledge_words"))
_MATCH = _INDEX.c.knowledge_words.op("MATCH")(sa.bindparam("match", type_=sa.Text))
_SOME = sa.select(_INDEX.c.rowid).where(_MATCH).limit(sa.bindparam("most", type_=sa.Integer))
_COUNTED = _SOME.subquery()
_COUNT = sa.select(sa.func.count(), sa.func.max(_COUNTED.c.rowid))
# In one row, for thousands of them take longer to be fetched than to be found.
_LIST = sa.select(sa.func.json_group_array(_COUNTED.c.rowid))
_ENDS = [
    sa.select(_INDEX.c.rowid).where(_MATCH).order_by(order).limit(1)
    for order in (_INDEX.c.rowid, _INDEX.c.rowid.desc())
]


def find(
    c: Connection, workspace_id: str, wanted: Sequence[str], k: int, source_ids: Sequence[str] | None
) -> Mapping[int, float]:
    """Scores by passage. ``source_ids``: of these sources; None: of all."""
    index = _Index(c, workspace_id, source_ids)
    frequencies = index.frequencies(wanted)
    if not frequencies:
        return {}
    total = index.total()
    weights = ranking.weights(frequencies, total)
    usual = {word: found for word, found in frequencies.items() if found < _FREQUENT * total}
    ranked = ranking.choose(usual if len(usual) > 1 else frequencies, index.size)
    best = _best(index, ranked, usual, weights, max(_RANKED_WELL, k))
    texts = sa.select(passages.c.id, passages.c.words).where(
        passages.c.id.in_(best), passages.c.workspace_id == workspace_id
    )
    scores = _scores([(row.id, row.words.split()) for row in c.execute(texts)], weights)
    return dict(heapq.nsmallest(k, scores.items(), key=lambda one: (-one[1], one[0])))


class _Index:
    """What FTS5 knows of the passages that are searched.

    Each word is in quotation marks, so that none is an operator.
    """

    def __init__(self, c: Connection, workspace_id: str, source_ids: Sequence[str] | None) -> None:
        self._c = c
        self._workspace_id, self._source_ids = workspace_id, source_ids
        self._scope = f'workspace_id : "{UUID(workspace_id).hex}"'
        if source_ids is not None:
            either = " OR ".join(f'"{UUID(source_id).hex}"' for source_id in source_ids)
            self._scope = f"source_id : ({either})"

    def frequencies(self, wanted: Iterable[str]) -> dict[str, float]:
        """How many passages have each word, of those that any has.

        Of frequent words only the first passages are counted, and it is assumed that the others have them
        as often.
        """
        first, last = (self._c.execute(end, {"match": self._scope}).scalar() or 0 for end in _ENDS)
        found: dict[str, float] = {}
        for word in wanted:
            number, reached = self._count(Wanted([word]))
            if number > ranking.MOST:
                found[word] = number * (last - first + 1) / (reached - first + 1)
            elif number:
                found[word] = number
        return found

    def total(self) -> int:
        """How many passages there are."""
        query = (
            sa.select(sa.func.sum(documents.c.passages))
            .join(sources, sources.c.id == documents.c.source_id)
            .where(sources.c.workspace_id == self._workspace_id)
        )
        if self._source_ids is not None:
            query = query.where(sources.c.id.in_(self._source_ids))
        return self._c.execute(query).scalar() or 0

    def size(self, wanted: Wanted) -> float:
        """How many passages are ranked, or that it is more than are meant to be."""
        return self._count(wanted)[0]

    def having(self, wanted: Wanted, word: str | None = None) -> list[int]:
        """The passages that are ranked; of these, those that have a word."""
        match = self._match(wanted) if word is None else f'{self._match(wanted)} AND words : ("{word}")'
        most = ranking.MOST * 3 // 2
        found: list[int] = loads(self._c.execute(_LIST, {"match": match, "most": most}).scalar_one())
        return found

    def _count(self, wanted: Wanted) -> tuple[int, int]:
        values = {"match": self._match(wanted), "most": ranking.MOST + 1}
        number, reached = self._c.execute(_COUNT, values).one()
        return number, reached

    def _match(self, wanted: Wanted) -> str:
        quoted = Wanted(
            [f'"{word}"' for word in wanted.rare], wanted.number, [f'"{word}"' for word in wanted.others]
        )
        return f"{self._scope} AND words : ({quoted.render(' AND ', ' OR ')})"


def _best(
    index: _Index, ranked: Wanted, usual: Iterable[str], weights: Mapping[str, float], most: int
) -> list[int]:
    """The passages that fit best by which words they have."""
    scores = dict.fromkeys(index.having(ranked), 0.0)
    if len(scores) > most:
        for word in usual:
            # All that have a rare word are ranked.
            having = index.having(Wanted([word])) if word in ranked.rare else index.having(ranked, word)
            for passage in having:
                if passage in scores:
                    scores[passage] += weights[word]
    return heapq.nlargest(most, scores, key=lambda one: (scores[one], -one))


def _scores(texts: Sequence[tuple[int, Sequence[str]]], weights: Mapping[str, float]) -> dict[int, float]:
    """How well passages fit by how often they have each word: each further time counts less."""
    if not texts:
        return {}
    alike = _Alike(weights)
    sizes = {id: len(set(text)) for id, text in texts}
    mean = fmean(sizes.values())
    found = {}
    for id, text in texts:
        likely = [one for one in text if one[: words.STEM] in alike.starts]
        times = Counter(word for one in likely for word in alike[one])
        total = sum(weights[word] * _saturated(number) for word, number in times.items())
        found[id] = total / (1 - ranking.LENGTH + ranking.LENGTH * sizes[id] / mean)
    return found


class _Alike(dict[str, Sequence[str]]):
    """Which of the words that are looked for a word of a text is, worked out when it is first met."""

    def __init__(self, wanted: Iterable[str]) -> None:
        super().__init__()
        self.starts: dict[str, list[str]] = defaultdict(list)
        """Of the words that are looked for, by their beginnings."""
        for word in wanted:
            self.starts[word[: words.STEM]].append(word)

    def __missing__(self, word: str) -> Sequence[str]:
        found = self[word] = [one for one in self.starts[word[: words.STEM]] if words.is_alike(word, one)]
        return found


def _saturated(number: int) -> float:
    """What a word counts that a passage has so often: as ts_rank of PostgreSQL has it."""
    return sum(1 / (time * time) for time in range(1, min(number, 30) + 1))
