"""The index of vectors on PostgreSQL: it finds what comparing all of them finds, of one workspace."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import psycopg
import pytest

from runtime import settings
from runtime.errors import ConfigurationError
from runtime.knowledge import embeddings, hnsw, store
from runtime.knowledge.model import Kind, Language, Passage
from runtime.knowledge.nearest import Vectors
from runtime.knowledge.vectors import encode
from runtime.model import User
from runtime.store import Database, migrate, users
from runtime.testing.waiting import until
from tests.support.databases import own_postgresql

DIMENSIONS, PASSAGES = 24, 300
MODEL = "a model's:name%"


@pytest.fixture
def url() -> Iterator[str]:
    """A server with pgvector."""
    with own_postgresql(module="vector") as server:
        migrate.upgrade(server.url)
        yield server.url


def fill(database: Database, name: str, vectors: np.ndarray) -> tuple[User, str]:
    """A workspace whose only source has a passage for each vector."""
    user = database.write(users.register, email=f"{name}@example.com", password_hash="")
    source = database.write(store.create_source, user.workspace_id, user.id, name, Language.SIMPLE)
    parts = [Passage((), str(number), str(number)) for number in range(len(vectors))]
    new = store.NewDocument("all", None, Kind.TEXT, 0, "-", parts)
    put = database.write(store.put_document, user.workspace_id, source.id, new)
    found = database.read(embeddings.unembedded, MODEL, [put.id], len(parts))
    made = [(one, encode(vector.tolist())) for one, vector in zip(found, vectors, strict=True)]
    database.write(embeddings.store, MODEL, made)
    return user, source.id


@pytest.mark.slow
def test_the_index_finds_the_nearest_of_a_workspace(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(url, settings.load({}).database)
    random = np.random.default_rng(3)
    all_of_them = random.standard_normal((2 * PASSAGES, DIMENSIONS))
    mine, source = fill(database, "ada", all_of_them[::2])
    fill(database, "bob", all_of_them[1::2])
    wanted = encode(random.standard_normal(DIMENSIONS).tolist())

    def search(least: float = 0.0, source_ids: list[str] | None = None) -> list[int]:
        near = Vectors(MODEL).nearest
        return database.search(near, mine.workspace_id, wanted, least, 10, source_ids)()

    exactly = search()
    with migrate.autocommit(url) as c:
        with pytest.raises(ConfigurationError, match="CREATE EXTENSION"):
            hnsw.build(c, MODEL)
        c.exec_driver_sql("CREATE EXTENSION vector")
        assert hnsw.build(c, "another") == 0
        assert hnsw.build(c, MODEL) == hnsw.build(c, MODEL) == 2 * PASSAGES
    asked: list[int] = []
    nearest = hnsw.nearest
    monkeypatch.setattr(hnsw, "nearest", lambda *how: asked.append(1) or nearest(*how))

    assert search() == exactly
    assert asked == []  # they are few
    monkeypatch.setattr(hnsw, "LEAST", PASSAGES)
    assert search() == search(source_ids=[source]) == exactly
    assert asked == [1, 1]
    assert search(least=0.999) == []
    monkeypatch.setattr(hnsw, "nearest", lambda *how: nearest(*how)[:5])
    assert search() == exactly  # though the index has given up
    scans = "SELECT sum(idx_scan) FROM pg_stat_user_indexes WHERE indexrelname LIKE 'knowledge_hnsw_%'"
    with psycopg.connect(url, autocommit=True) as connection:
        until(lambda: connection.execute(scans).fetchall()[0][0] >= 3, 30, "the index was asked each time")
    database.close()


@pytest.mark.parametrize(("version", "problem"), [("0.7.4", "0.8 or later"), (None, "CREATE EXTENSION")])
def test_a_pgvector_without_iterative_scans_is_refused(version: str | None, problem: str) -> None:
    for enough in ("0.8.0", "0.10.1", "1.0"):
        hnsw._check(enough)

    with pytest.raises(ConfigurationError, match=problem):
        hnsw._check(version)


def test_sqlite_has_no_such_index(sqlite_url: str) -> None:
    with migrate.autocommit(sqlite_url) as c, pytest.raises(ConfigurationError, match="SQLite"):
        hnsw.build(c, MODEL)
