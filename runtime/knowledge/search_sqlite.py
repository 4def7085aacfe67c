"""The full text search on SQLite.

FTS5 says in microseconds which passages have a word; its BM25 reads all that any passage has of each word
for every search. So what is taken from it is which passages have which words, and the best of them are
ranked here, by their texts.

It is asked few questions, for many words at once and in plain SQL, and each answer is one row: to make a
statement and to fetch thousands of rows take longer than to find them.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import accumulate, combinations
from statistics import fmean
from uuid import UUID

import sqlalchemy as sa
from orjson import dumps, loads
from sqlalchemy import Connection

from runtime.knowledge import ranking, words
from runtime.knowledge.ranking import Wanted
from runtime.knowledge.tables import documents, sources

_RANKED_WELL = 260
"""Of the passages that are ranked by which words they have, so many are by how often, too."""
_COUNTED = 60
"""Passages at either end of all by which it is seen whether a word is frequent."""
_FREQUENT = 0.3
"""Words that a greater share of the passages have count only where passages are ranked by how often."""
_END = "."
"""Stands after the words of a passage, of which it is none."""
_MOST_TIMES = 30
_SATURATED = [0.0, *accumulate(1 / (time * time) for time in range(1, _MOST_TIMES + 1))]
"""What a word counts that a passage has so often: as ts_rank of PostgreSQL has it."""
_MATCHING = (
    "SELECT (SELECT json_group_array(rowid) FROM (SELECT rowid FROM knowledge_words "
    "WHERE knowledge_words MATCH json_each.value LIMIT ?)) FROM json_each(?)"
)
_DENSITY = (
    "SELECT (SELECT json_array(count(*), max(rowid)) FROM (SELECT rowid FROM knowledge_words "
    "WHERE knowledge_words MATCH json_each.value ORDER BY rowid LIMIT ?1)), "
    "(SELECT json_array(count(*), min(rowid)) FROM (SELECT rowid FROM knowledge_words "
    "WHERE knowledge_words MATCH json_each.value ORDER BY rowid DESC LIMIT ?1)) FROM json_each(?2)"
)
_ENDS = (
    "SELECT (SELECT rowid FROM knowledge_words WHERE knowledge_words MATCH ?1 ORDER BY rowid LIMIT 1), "
    "(SELECT rowid FROM knowledge_words WHERE knowledge_words MATCH ?1 ORDER BY rowid DESC LIMIT 1)"
)
_TEXTS = (
    "SELECT json_group_array(id), coalesce(group_concat(words || ?, ''), '') FROM (SELECT id, words "
    "FROM knowledge_passages WHERE id IN (SELECT value FROM json_each(?)) AND workspace_id = ?)"
)


def find(
    c: Connection, workspace_id: str, wanted: Sequence[str], k: int, source_ids: Sequence[str] | None
) -> Mapping[int, float]:
    """Scores by passage. ``source_ids``: of these sources; None: of all."""
    index = _Index(c, workspace_id, source_ids)
    total = index.total()
    # What is estimated may be more than there are.
    frequencies = {word: min(found, total) for word, found in index.frequencies(wanted).items()}
    if not frequencies:
        return {}
    weights = ranking.weights(frequencies, total)
    usual = {word: found for word, found in frequencies.items() if found < _FREQUENT * total}
    ranked = ranking.choose(usual if len(usual) > 1 else frequencies, index.size)
    best = _best(index, ranked, usual, weights, max(_RANKED_WELL, k))
    scores = _scores(*index.texts(best), weights)
    if len(best) < k and not ranked.is_any_of(frequencies):
        # All that have a rare word are among the best: others have but what is like it.
        rest = {word: weight for word, weight in weights.items() if word not in ranked.rare}
        fill = _best(index, ranking.any_of(rest), rest, weights, max(_RANKED_WELL, k))
        others = [passage for passage in fill if passage not in scores]
        scores |= _scores(*index.texts(others), rest)
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
        self._found: dict[str, list[int]] = {}

    def frequencies(self, wanted: Sequence[str]) -> dict[str, float]:
        """How many passages have each word, of those that any has.

        Of words that many have only the first and the last passages are counted, and it is assumed that the
        others have them as often.
        """
        ends = self._c.exec_driver_sql(_ENDS, (self._scope,)).one()
        if ends[0] is None:
            return {}
        first, last = ends
        frequencies = self._of_frequent(wanted, first, last)
        others = [word for word in wanted if word not in frequencies]
        for word, passages in zip(others, self._having(map(_quoted, others)), strict=True):
            frequencies[word] = float(len(passages))
            if len(passages) > ranking.MOST:
                frequencies[word] *= (last - first + 1) / (passages[-1] - first + 1)
        return {word: frequencies[word] for word in wanted if frequencies[word]}

    def _of_frequent(self, wanted: Sequence[str], first: int, last: int) -> dict[str, float]:
        """The frequencies of words that are frequent at both ends."""
        queries = dumps([self._match(_quoted(word)) for word in wanted]).decode()
        rows = self._c.exec_driver_sql(_DENSITY, (_COUNTED, queries)).all()
        found = {}
        for word, (start, end) in zip(wanted, rows, strict=True):
            (number, reached), (_, reached_back) = loads(start), loads(end)
            if number == _COUNTED:
                density = number / max(reached - first + 1, last - reached_back + 1)
                if density >= _FREQUENT:
                    found[word] = density * (last - first + 1)
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

    def size(self, wanted: Wanted) -> int:
        """How many passages are ranked, or that they are more than are meant to be."""
        passages = set[int]().union(*self._having(map(_quoted, wanted.rare)))
        # The most frequent ones first, which most often are too many by themselves.
        for several in reversed(_sets(wanted)):
            passages.update(*self._having([_all_of(several)]))
            if len(passages) > ranking.MOST:
                break
        return len(passages)

    def ranked(self, wanted: Wanted) -> AbstractSet[int]:
        """The passages that are ranked; some of them where there are more than are meant to be."""
        queries = [*map(_quoted, wanted.rare), *map(_all_of, _sets(wanted))]
        return set().union(*self._having(queries))

    def presence(self, ranked: Wanted, wanted: Iterable[str]) -> dict[str, AbstractSet[int]]:
        """Which of the passages that are ranked have each word.

        Of one that is neither rare nor among the others, those that have a rare word are known.
        """
        rare = dict(
            zip(
                ranked.rare,
                map(set, self._having(map(_quoted, ranked.rare))),
                strict=True,
            )
        )
        present: dict[str, set[int]] = defaultdict(set, rare)
        for several, passages in zip(_sets(ranked), self._having(map(_all_of, _sets(ranked))), strict=True):
            for word in several:
                present[word].update(passages)
        if rare:
            either = " OR ".join(map(_quoted, ranked.rare))
            others = [word for word in wanted if word not in rare]
            queries = [f"({either}) AND {_quoted(word)}" for word in others]
            for word, passages in zip(others, self._having(queries), strict=True):
                present[word].update(passages)
        return dict(present)

    def texts(self, ids: Sequence[int]) -> tuple[list[int], list[str]]:
        """The passages of these ids, and their words, with :data:`_END` after each passage."""
        values = (f" {_END} ", dumps(ids).decode(), UUID(self._workspace_id).hex)
        found, texts = self._c.exec_driver_sql(_TEXTS, values).one()
        return loads(found), texts.split()

    def _having(self, queries: Iterable[str]) -> list[list[int]]:
        """The first passages that match each query, in their order: one more than are meant to be ranked."""
        asked = list(queries)
        if missing := [query for query in dict.fromkeys(asked) if query not in self._found]:
            matches = list(map(self._match, missing))
            rows = self._c.exec_driver_sql(_MATCHING, (ranking.MOST + 1, dumps(matches).decode()))
            self._found.update((query, loads(ids)) for query, (ids,) in zip(missing, rows.all(), strict=True))
        return [self._found[query] for query in asked]

    def _match(self, query: str) -> str:
        return f"{self._scope} AND words : ({query})"


def _quoted(word: str) -> str:
    return f'"{word}"'


def _all_of(several: Iterable[str]) -> str:
    return " AND ".join(map(_quoted, several))


def _sets(wanted: Wanted) -> list[tuple[str, ...]]:
    """The words of which a passage that is ranked has all, if it has no rare one."""
    return list(combinations(wanted.others, wanted.number)) if wanted.others else []


def _best(
    index: _Index,
    ranked: Wanted,
    wanted: Iterable[str],
    weights: Mapping[str, float],
    most: int,
) -> list[int]:
    """The passages that fit best by which words they have."""
    scores = dict.fromkeys(index.ranked(ranked), 0.0)
    if len(scores) > most:
        for word, passages in index.presence(ranked, wanted).items():
            weight = weights[word]
            for passage in scores.keys() & passages:
                scores[passage] += weight
    return heapq.nlargest(most, scores, key=lambda one: (scores[one], -one))


def _scores(ids: Sequence[int], texts: Sequence[str], weights: Mapping[str, float]) -> dict[int, float]:
    """How well passages fit by how often they have each word: each further time counts less."""
    alike = _alike(set(texts), weights)
    hits: list[list[str]] = [[]]
    sizes = []
    start = 0
    for at, word in [(at, word) for at, word in enumerate(texts) if word in alike]:
        if word == _END:
            sizes.append(len(set(texts[start:at])))
            hits.append([])
            start = at + 1
        else:
            hits[-1] += alike[word]
    mean = fmean(sizes or [1])
    found = {}
    for id, had, size in zip(ids, hits, sizes, strict=False):
        total = 0.0
        for word, number in Counter(had).items():
            total += weights[word] * _SATURATED[min(number, _MOST_TIMES)]
        found[id] = total / (1 - ranking.LENGTH + ranking.LENGTH * size / mean)
    return found


def _alike(there: Iterable[str], wanted: Iterable[str]) -> dict[str, list[str]]:
    """Which of the words that are looked for each word of the texts is, if it is any."""
    starts: dict[str, list[str]] = defaultdict(list)
    for word in wanted:
        starts[word[: words.STEM]].append(word)
    likely = [(one, starts[one[: words.STEM]]) for one in there if one[: words.STEM] in starts]
    alike = {one: [word for word in some if words.is_alike(one, word)] for one, some in likely}
    return {_END: [], **{one: some for one, some in alike.items() if some}}
