"""``python -m bench.knowledge``: how well and how quickly 100,000 passages are searched, on both databases.

How well: 72 questions over the documentation of npm, which nobody here wrote, first by itself and
then among all the others. Recall at 5 is the share of questions that one of the first five passages
answers; MRR is the mean of 1 / the place of the first one that does, among twenty. By their vectors
only where a small model is installed (make retrieval). How quickly: each search as the API does it, in
one process, without HTTP and without what the model takes for the query.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench import postgresql
from bench.figures import quantile
from bench.knowledge import models
from bench.knowledge.corpus import Question, Vocabulary, documentation, questions
from runtime import settings
from runtime.errors import Invalid
from runtime.knowledge import embeddings, store
from runtime.knowledge.meaning import Meaning
from runtime.knowledge.model import Language
from runtime.knowledge.service import Knowledge
from runtime.model import User
from runtime.store import Database, migrate, users
from runtime.testing.postgresql_server import temporary_database

_PASSAGES = 100_000
_PLACES = 20
"""Among which the first passage that answers a question is looked for."""
_SEARCHES = 200
"""Of each kind, whose time is taken."""
_K = 5


Place = tuple[str, Sequence[str]]
"""The document of a passage, and the headings above it."""
Search = Callable[[str, int, str | None], list[Place]]


@dataclass(frozen=True, slots=True)
class Filled:
    """A knowledge base that is searched."""

    database: Database
    user: User
    npm: str
    """The id of the source that has the documentation."""
    meaning: Meaning
    passages: Mapping[int, Place]
    """Those of the documentation."""

    def by_words(self, query: str, k: int = _K, source_id: str | None = None) -> list[Place]:
        """What a search finds without vectors."""
        knowledge = Knowledge(self.database)
        found = knowledge.search(self.user.workspace_id, knowledge.ask(query), k, source_id)
        return [(one.document, one.titles) for one in found.passages]

    def by_both(self, query: str, k: int = _K, source_id: str | None = None) -> list[Place]:
        """What it finds with vectors."""
        knowledge = Knowledge(self.database, self.meaning)
        found = knowledge.search(self.user.workspace_id, knowledge.ask(query), k, source_id)
        return [(one.document, one.titles) for one in found.passages]

    def by_vectors(self, query: str, k: int = _K, source_id: str | None = None) -> list[Place]:
        """Whose vectors are nearest."""
        near, source_ids = self.meaning.near(query), None if source_id is None else [source_id]
        found = self.database.search(near, self.user.workspace_id, k, source_ids)
        return [self.passages.get(passage, ("", ())) for passage in found()]


def main() -> int:
    """Measure on both databases, and print Markdown tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.knowledge", description=__doc__)
    parser.add_argument("--database", default=os.environ.get("DATABASE_URL"), help="a PostgreSQL server")
    parser.add_argument("--passages", type=int, default=_PASSAGES, help=f"how many ({_PASSAGES:,})")
    parser.add_argument("--searches", type=int, default=_SEARCHES, help=f"of each kind ({_SEARCHES})")
    wanted = parser.parse_args()
    began = time.monotonic()
    read = list(documentation())
    with tempfile.TemporaryDirectory(prefix="branchline-bench-") as name, ExitStack() as cleanup:
        folder = Path(name)
        server = cleanup.enter_context(postgresql.server(wanted.database, folder / "postgresql"))
        url = cleanup.enter_context(temporary_database(server))
        words = {title: Vocabulary(read) for title in ("PostgreSQL", "SQLite")}
        model = models.endpoint(settings.load({}).embeddings.similarity)
        filled = {
            title: _fill(address, read, words[title], wanted.passages, model)
            for title, address in (("PostgreSQL", url), ("SQLite", f"sqlite:///{folder}/bench.db"))
        }
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
        print(f"filled after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        for title, one in filled.items():
            print(f"\n### {title}, {wanted.passages:,} passages\n", flush=True)
            for line in _report(one, words[title], wanted.searches):
                print(line, flush=True)
            one.database.close()
    return 0


def _fill(
    url: str, read: Sequence[store.NewDocument], words: Vocabulary, passages: int, model: models.Arbitrary
) -> Filled:
    migrate.upgrade(url)
    database = Database(url, settings.load({}).database)
    user = database.write(users.register, email="bench@example.com", password_hash="")
    sources = [
        database.write(store.create_source, user.workspace_id, user.id, name, Language.ENGLISH).id
        for name in ("npm", "others")
    ]
    here = sum(len(one.passages) for one in read)
    made_up = models.Arbitrary(model.settings)
    places: dict[int, Place] = {}
    for source, documents, embed in zip(
        sources, (read, words.documents(passages - here)), (model.embed, made_up.embed), strict=True
    ):
        for one in documents:
            put = database.write(store.put_document, user.workspace_id, source, one)
            some = database.read(embeddings.unembedded, model.name, [put.id], len(one.passages))
            vectors = [*zip(some, embed([part.content for part in some]), strict=True)] if some else []
            database.write(embeddings.store, model.name, vectors)
            if source == sources[0]:
                places |= {part.id: (one.name, part.titles) for part in some}
    return Filled(database, user, sources[0], Meaning(model), places)


def _report(filled: Filled, words: Vocabulary, searches: int) -> Iterator[str]:
    asked = questions()
    ways: dict[str, Search] = {"by words": filled.by_words}
    if models.is_installed():
        ways |= {"by vectors": filled.by_vectors, "by both": filled.by_both}
    yield "| questions | n | recall at 5 | MRR |"
    yield "|---|---:|---:|---:|"
    for where, source_id in (("in the documentation alone", filled.npm), ("among all passages", None)):
        for way, search in ways.items():
            recall, mrr = _quality(search, asked, source_id)
            yield f"| {where}, {way} | {len(asked)} | {recall:.3f} | {mrr:.3f} |"
    yield "\n| searches | n | p50, ms | p99, ms | longest, ms |"
    yield "|---|---:|---:|---:|---:|"
    kinds: dict[str, Callable[[int], str]] = {
        "the questions": lambda number: asked[number % len(asked)].text,
        "three rare words": lambda _: " ".join(words.rarer(3)),
        "six words, as often as texts have them": lambda _: " ".join(words.frequent(6)),
        "four of those and two rare ones": lambda _: " ".join(words.frequent(4) + words.rarer(2)),
        "the twenty most frequent words": lambda _: " ".join(words.common),
    }
    for way, search in (("by words", filled.by_words), ("by both", filled.by_both)):
        for name, query in kinds.items():
            took = [_timed(filled, search, query(number)) for number in range(searches)]
            values = (quantile(took, 0.5), quantile(took, 0.99), max(took))
            yield f"| {name}, {way} | {len(took)} | " + " | ".join(f"{value:.1f}" for value in values) + " |"


def _timed(filled: Filled, search: Search, text: str) -> float:
    """Milliseconds that a search takes."""
    filled.meaning.endpoint.embed_query(text)
    began = time.perf_counter()
    with suppress(Invalid):  # it took too long
        search(text, _K, None)
    return (time.perf_counter() - began) * 1000


def _quality(search: Search, asked: Sequence[Question], source_id: str | None) -> tuple[float, float]:
    """Recall at 5, and the mean reciprocal rank."""
    recalled, reciprocal = 0, 0.0
    for question in asked:
        found = search(question.text, _PLACES, source_id)
        place = next((at for at, one in enumerate(found, 1) if question.is_answered_by(*one)), None)
        recalled += place is not None and place <= _K
        reciprocal += 1 / place if place else 0
    return recalled / len(asked), reciprocal / len(asked)


if __name__ == "__main__":
    sys.exit(main())
