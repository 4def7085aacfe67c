"""The full text search on PostgreSQL.

Beside the words of a passage, its vector has two of our own: one for its workspace and
language, one for its source. So the index itself leaves out what is of others. How frequent the words
are is estimated on a sample: a thousand passages, in the order of a hash of their ids.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import ARRAY, REGCONFIG, TSQUERY

from runtime.knowledge import ranking
from runtime.knowledge.model import Language
from runtime.knowledge.ranking import Wanted
from runtime.knowledge.tables import SPREAD, passages, sources

_SAMPLE = 1000
"""Passages on which it is estimated how many have a word."""
_HASHES = 1 << 32
_NAMED = 50
"""Sources that the index is asked for by their names. With more of them it takes longer to leave out what
is of others than to read it."""
_RANKED_WELL = 300
"""Of the passages that are ranked by which words they have, so many are by how often, too."""
_id, _words = passages.c.id, passages.c.words


def vector(
    workspace_id: str, source_id: str, language: Language, searched: sa.ColumnElement[str]
) -> sa.ColumnElement[Any]:
    """What is stored of a passage, to be searched."""
    config = sa.cast(sa.literal(language.value), REGCONFIG)
    own = sa.cast(sa.literal([_of_workspace(workspace_id, language), _of_source(source_id)]), ARRAY(sa.Text))
    return sa.func.array_to_tsvector(own).op("||")(sa.func.to_tsvector(config, searched))


def _of_workspace(workspace_id: str, language: str) -> str:
    """A word of our own. No word of a text is that long."""
    return f"{UUID(workspace_id).hex}{language}"


def _of_source(source_id: str) -> str:
    """Another one."""
    return UUID(source_id).hex


@dataclass(frozen=True, slots=True)
class _Sample:
    """Some passages, and how many there are in all."""

    words: Sequence[str]
    numbers: Mapping[int, int]
    """How many of the sample have these of the words, one bit each."""
    each: float
    """How many passages one of the sample stands for."""
    length: float
    """Different words of a passage, at the mean."""

    def size(self, wanted: Wanted) -> float:
        """How many passages are ranked."""
        places = {word: place for place, word in enumerate(self.words)}

        def is_ranked(bits: int) -> bool:
            return wanted.is_met_by(lambda word: bits >> places[word] & 1)

        return self.each * sum(number for bits, number in self.numbers.items() if is_ranked(bits))

    def size_of_all(self) -> float:
        """How many passages there are."""
        return self.each * sum(self.numbers.values())

    def frequencies(self) -> dict[str, float]:
        """How many passages have each word. One that the sample has not may be in some all the same."""
        return {word: self.size(Wanted([word])) or self.each / 2 for word in self.words}


def find(
    c: Connection, workspace_id: str, wanted: Sequence[str], k: int, source_ids: Sequence[str] | None
) -> Mapping[int, float]:
    """Scores by passage. What each language leaves out of account differs, so each is asked by itself.

    ``source_ids``: of these sources; None: of all.
    """
    of_workspace = passages.c.workspace_id == workspace_id
    query = sa.select(sources.c.language, sources.c.id).where(sources.c.workspace_id == workspace_id)
    if source_ids is not None:
        query = query.where(sources.c.id.in_(source_ids))
    by_language: dict[str, list[str]] = defaultdict(list)
    for language, source_id in c.execute(query):
        by_language[language].append(source_id)
    found: list[tuple[float, int]] = []
    for language, ids in by_language.items():
        scope, where = _of_workspace(workspace_id, language), of_workspace
        if source_ids is not None:
            where &= passages.c.source_id.in_(ids)
            if len(ids) <= _NAMED:
                scope = f"({' | '.join(map(_of_source, ids))})"
        if lexemes := _lexemes(c, language, wanted):
            found += _find(c, where, scope, lexemes, k)
    return {id: score for score, id in heapq.nlargest(k, found)}


def _lexemes(c: Connection, language: str, wanted: Sequence[str]) -> list[str]:
    """The words as the vectors of a language have them, in the form of a query; without those that it leaves
    out."""
    config = sa.cast(sa.literal(language), REGCONFIG)
    columns = [sa.cast(sa.func.plainto_tsquery(config, word), sa.Text) for word in wanted]
    return list(dict.fromkeys(lexeme for lexeme in c.execute(sa.select(*columns)).one() if lexeme))


def _find(
    c: Connection, where: sa.ColumnElement[bool], scope: str, lexemes: Sequence[str], k: int
) -> list[tuple[float, int]]:
    sample = _sample(c, where, scope, lexemes)
    if sample is None:
        return []
    frequencies = sample.frequencies()
    score = _Score(ranking.weights(frequencies, sample.size_of_all()), sample.length)
    chosen = ranking.choose(frequencies, sample.size)
    found = _best(c, _ranked(where, scope, chosen, score), score, k)
    if len(found) < k and not chosen.is_any_of(lexemes):
        found |= _best(c, _ranked(where, scope, ranking.any_of(lexemes), score), score, k)
    return [(value, id) for id, value in found.items()]


def _best(c: Connection, ranked: sa.Subquery, score: _Score, k: int) -> dict[int, float]:
    """The scores of the ``k`` passages that fit best, of those that are ranked."""
    best = (
        sa.select(ranked)
        .order_by(ranked.c.presence.desc(), ranked.c.id)
        .limit(max(_RANKED_WELL, k))
        .subquery("best")
    )
    value = score.by_number(best.c.words).label("score")
    statement = sa.select(value, best.c.id).order_by(value.desc(), best.c.id).limit(k)
    return {row.id: row.score for row in c.execute(statement)}


def _ranked(where: sa.ColumnElement[bool], scope: str, wanted: Wanted, score: _Score) -> sa.Subquery:
    """The passages that are ranked, and how well they fit by which words they have.

    Where those with a rare word are more than was estimated, the best of them are taken. Those with others
    are taken as the index has them, in no order: to put them into one would be to rank them all.
    """
    columns = _id, _words, score.by_presence(_words).label("presence")
    some = []
    if wanted.rare:
        part = sa.select(*columns).where(where, _has(_words, f"{scope} & ({' | '.join(wanted.rare)})"))
        some.append(part.order_by(sa.desc("presence"), _id))
    if wanted.others:
        several = Wanted([], wanted.number, wanted.others).render(" & ", " | ")
        query = " & ".join([scope, f"({several})", *(f"!({word})" for word in wanted.rare)])
        some.append(sa.select(*columns).where(where, _has(_words, query)))
    parts = [sa.select(part.limit(ranking.MOST * 3 // 2).subquery()) for part in some]
    return sa.union_all(*parts).subquery("ranked")


def _sample(
    c: Connection, where: sa.ColumnElement[bool], scope: str, lexemes: Sequence[str]
) -> _Sample | None:
    """None where there are no passages at all."""
    some = sa.select(_words, SPREAD.label("hash")).where(where).order_by(SPREAD).limit(_SAMPLE).subquery()
    bits = reduce(
        add,
        (
            sa.case((_has(some.c.words, one), sa.literal(1 << place, sa.BigInteger)), else_=0)
            for place, one in enumerate([scope, *lexemes])
        ),
    ).label("bits")
    columns = (sa.func.count().label("number"), sa.func.max(some.c.hash).label("last"))
    length = sa.func.sum(sa.func.length(some.c.words)).label("length")
    rows = c.execute(sa.select(bits, *columns, length).group_by("bits")).all()
    if not rows:
        return None
    number = sum(row.number for row in rows)
    each = 1.0
    if number == _SAMPLE:
        each = _HASHES / (max(row.last for row in rows) + _HASHES // 2 + 1)
    return _Sample(
        lexemes,
        {row.bits >> 1: row.number for row in rows if row.bits & 1},
        each,
        float(sum(row.length for row in rows)) / number,
    )


@dataclass(frozen=True, slots=True)
class _Score:
    """How well a passage fits, as SQL."""

    weights: Mapping[str, float]
    length: float
    """Different words of a passage, at the mean."""

    def by_presence(self, words: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """By which of the words it has."""
        return self._sum(words, lambda one: sa.case((_has(words, one), 1), else_=0))

    def by_number(self, words: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """By how often it has each of them, too: each further time counts less."""
        return self._sum(words, lambda one: sa.func.ts_rank(words, _query(one), 0))

    def _sum(
        self, words: sa.ColumnElement[Any], value: Callable[[str], sa.ColumnElement[Any]]
    ) -> sa.ColumnElement[Any]:
        relative = sa.func.length(words) / self.length
        total = reduce(add, (weight * value(one) for one, weight in self.weights.items()))
        return total / (1 - ranking.LENGTH + ranking.LENGTH * relative)


def _has(words: sa.ColumnElement[Any], query: str) -> sa.ColumnElement[bool]:
    return words.op("@@", is_comparison=True)(_query(query))


def _query(text: str) -> sa.ColumnElement[Any]:
    return sa.cast(sa.literal(text), TSQUERY)
