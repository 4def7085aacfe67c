"""Passages are found by what they mean as well as by their words, by whoever they belong to."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from runtime.knowledge import nearest
from runtime.knowledge.embedder import Embedder
from runtime.knowledge.nearest import Vectors
from runtime.knowledge.tables import embeddings as table
from runtime.knowledge.tables import sources as sources_table
from runtime.knowledge.vectors import encode
from tests.support.fake_embeddings import FakeEmbeddings, vector
from tests.support.knowledge import CATS, DOGS, add, found, source
from tests.support.web import Client
from web.core import Core

pytestmark = pytest.mark.usefixtures("with_vectors")

BY_MEANING = "nourishment for a feline"
"""No word of it is in a document, but "a" and "for"."""


def finish(embedder: Embedder) -> None:
    while embedder.embed_some():
        pass


def answer(client: Client, q: str, **query: Any) -> dict[str, Any]:
    shown = client.get("/api/knowledge/search", query_string={"q": q, **query})
    assert shown.status_code == 200, shown.text
    answered: dict[str, Any] = shown.json
    return answered


def titles(client: Client, q: str, **query: Any) -> list[list[str]]:
    return [one["titles"] for one in found(client, q, **query)]


def test_a_passage_is_found_that_has_no_word_of_the_query(ada: Client, embedder: Embedder) -> None:
    animals = source(ada)
    add(ada, animals, "cats.md", CATS)
    add(ada, animals, "dogs.md", DOGS)
    assert titles(ada, "nourishment") == []

    finish(embedder)

    [first, *_] = answer(ada, BY_MEANING)["items"]
    assert first["titles"] == ["Cats", "Food"]
    assert [first[word] for word in ("document", "source", "position")] == ["cats.md", "animals", 1]
    assert answer(ada, "nourishment")["vectors"] == "used"
    assert titles(ada, "courier") == [["Dogs"]]
    assert titles(ada, "municipality") == []  # it is like none of them
    assert titles(ada, "?!") == []


def test_what_both_find_goes_before_what_one_finds(ada: Client, embedder: Embedder) -> None:
    animals = source(ada)
    add(ada, animals, "a.txt", "A canine of the courier.")
    add(ada, animals, "b.txt", "A big building on a hill.")
    add(ada, animals, "c.txt", "The dog of a big courier.")
    finish(embedder)

    items = answer(ada, "big dog", k=3)["items"]
    assert [one["document"] for one in items] == ["c.txt", "a.txt", "b.txt"]
    assert items[0]["score"] > items[1]["score"]
    assert len(answer(ada, "big dog", k=1)["items"]) == 1


def test_a_search_by_meaning_is_of_one_workspace_source_or_project(
    ada: Client, bob: Client, embedder: Embedder
) -> None:
    mine = [source(ada), source(ada, "more", project_id="blue"), source(ada, "others", project_id="red")]
    theirs = source(bob)
    for client, source_id in [*((ada, one) for one in mine), (bob, theirs)]:
        add(client, source_id, "cats.md", CATS)
    finish(embedder)

    for _ in range(2):  # first as they are read, then as they are kept
        for client, query, sources in [
            (ada, {}, set(mine)),
            (bob, {}, {theirs}),
            (ada, {"source": mine[2]}, {mine[2]}),
            (ada, {"project_id": "blue"}, {mine[0], mine[1]}),
            (ada, {"project_id": "green"}, {mine[0]}),
        ]:
            items = answer(client, BY_MEANING, k=50, **query)["items"]
            assert {one["source_id"] for one in items} == sources, query
            assert answer(client, "nourishment", k=50, **query)["items"]
    assert ada.get("/api/knowledge/search", query_string={"q": "x", "source": theirs}).status_code == 404


def test_what_changes_is_found_as_it_is(ada: Client, embedder: Embedder) -> None:
    animals = source(ada)
    first = add(ada, animals, "cats.md", CATS).json["document"]["id"]
    finish(embedder)
    assert ["Cats", "Food"] in titles(ada, "nourishment")

    add(ada, animals, "dogs.md", DOGS)
    finish(embedder)
    assert titles(ada, "courier") == [["Dogs"]]
    add(ada, animals, "dogs.md", "# Towns\n\nA big city.\n")
    assert titles(ada, "courier") == []  # on SQLite the new passage has the id of the one before
    finish(embedder)
    assert titles(ada, "courier") == []
    assert titles(ada, "municipality") == [["Towns"]]

    ada.delete(f"/api/knowledge/sources/{animals}/documents/{first}")
    assert titles(ada, "nourishment") == []
    assert titles(ada, "municipality") == [["Towns"]]
    ada.delete(f"/api/knowledge/sources/{animals}")
    assert titles(ada, "municipality") == []


def test_only_what_is_new_is_read(ada: Client, embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    animals = source(ada)
    add(ada, animals, "cats.md", CATS)
    finish(embedder)
    read, rows = [], nearest._rows

    def noted(*args: Any) -> Any:
        made = rows(*args)
        read.append(len(made[0]))
        return made

    monkeypatch.setattr(nearest, "_rows", noted)
    answer(ada, BY_MEANING)
    answer(ada, BY_MEANING)
    add(ada, animals, "dogs.md", DOGS)
    finish(embedder)
    answer(ada, BY_MEANING)

    assert read == [3, 1]


@pytest.mark.parametrize("status", [503, 401], ids=["away", "key"])
def test_an_endpoint_that_fails_leaves_the_search_by_words(
    ada: Client, embedder: Embedder, fake: FakeEmbeddings, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    add(ada, source(ada), "cats.md", CATS)
    finish(embedder)
    fake.status = status

    shown = answer(ada, "mice for a feline")
    assert shown["vectors"] == "unavailable"
    assert shown["items"][0]["titles"] == ["Cats", "Food"]
    assert "a search is by words alone" in caplog.text
    assert "a-secret-key" not in caplog.text

    asked = len(fake.requests)
    assert answer(ada, "mice")["vectors"] == "unavailable"
    assert len(fake.requests) == asked  # not each search waits for it


def test_more_vectors_than_a_process_keeps_are_not_searched(
    ada: Client, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(ada, source(ada), "cats.md", CATS)
    add(ada, source(ada, "more"), "dogs.md", DOGS)
    finish(embedder)
    monkeypatch.setattr(nearest, "MOST", 60)
    read: list[Any] = []
    monkeypatch.setattr(nearest, "_rows", lambda *args: read.append(args))

    assert answer(ada, "mice")["vectors"] == "unavailable"
    assert titles(ada, "mice") == [["Cats", "Food"]]
    assert read == []


def test_what_was_searched_longest_ago_is_forgotten_before_more_is_read(
    ada: Client, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [source(ada), source(ada, "more")]
    for one in both:
        add(ada, one, "cats.md", CATS)
    finish(embedder)
    size = 3 * 6 * 4
    monkeypatch.setattr(nearest, "MOST", size)
    kept: list[list[str]] = []
    read = Vectors._read

    def noted(self: Vectors, *args: Any) -> Any:
        kept.append([*self._kept])
        return read(self, *args)

    monkeypatch.setattr(Vectors, "_read", noted)
    for one in both:
        assert answer(ada, BY_MEANING, source=one)["items"]

    assert kept == [[], []]


def test_a_search_that_fails_as_it_reads_leaves_what_was_read(
    ada: Client, core: Core, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    animals = source(ada)
    add(ada, animals, "cats.md", CATS)
    finish(embedder)
    workspace = core.database.read(lambda c: c.execute(sa.select(sources_table.c.workspace_id)).scalar_one())
    vectors, wanted = Vectors("meanings"), encode(vector("a cat"))

    def search() -> list[int]:
        return core.database.search(vectors.nearest, workspace, wanted, 0.1, 3, None)()

    assert search()
    add(ada, animals, "dogs.md", DOGS)
    finish(embedder)
    with monkeypatch.context() as broken:
        broken.setattr(nearest, "_rows", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            search()

    assert len(vectors._kept[animals].ids) == 3


def test_searches_that_begin_together_read_a_source_once(
    ada: Client, core: Core, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(ada, source(ada), "cats.md", CATS)
    finish(embedder)
    workspace = core.database.read(lambda c: c.execute(sa.select(sources_table.c.workspace_id)).scalar_one())
    vectors, wanted = Vectors("meanings"), encode(vector("a cat"))
    together, rows, read = threading.Barrier(2), nearest._rows, []

    def noted(*args: Any) -> Any:
        read.append(args)
        with suppress(threading.BrokenBarrierError):
            together.wait(0.3)
        return rows(*args)

    def search(_: int) -> list[int]:
        return core.database.search(vectors.nearest, workspace, wanted, 0.1, 3, None)()

    monkeypatch.setattr(nearest, "_rows", noted)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(search, range(2))

    assert first == second != []
    assert len(read) == 1


_DRIPPING = """
from gevent import monkey; monkey.patch_all()
import gevent, socket
from dataclasses import replace
from runtime import settings
from runtime.errors import EmbeddingsUnavailable
from runtime.knowledge.endpoint import Endpoint

server = socket.create_server(("127.0.0.1", 0))

def drip():
    connection, _ = server.accept()
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nX: ")
    while True:
        connection.sendall(b"x")
        gevent.sleep(0.05)

gevent.spawn(drip)
url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
given = replace(settings.load({}).embeddings, url=url, model="slow", query_timeout=0.3)
try:
    Endpoint(given).embed_query("a text")
except EmbeddingsUnavailable as error:
    print(error, error.timed_out)
"""


def test_an_endpoint_that_answers_bit_by_bit_holds_up_no_search() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _DRIPPING], capture_output=True, text=True, timeout=60, check=False
    )

    assert ended.stdout == "The embeddings endpoint has not answered within 0.3 s. True\n", ended.stderr


def test_a_model_that_changes_its_vectors_finds_nothing_by_them_but_fails_nothing(
    ada: Client, core: Core, embedder: Embedder
) -> None:
    add(ada, source(ada), "cats.md", CATS)
    finish(embedder)
    core.database.write(lambda c: c.execute(sa.update(table).values(vector=b"\0\0")))

    assert titles(ada, "nourishment") == []
    assert titles(ada, "mice") == [["Cats", "Food"]]


def test_without_an_endpoint_nothing_is_asked(ada: Client, fake: FakeEmbeddings) -> None:
    ada.application.extensions["knowledge"] = None
    add(ada, source(ada), "cats.md", CATS)

    assert answer(ada, "mice")["vectors"] == "none"
    assert fake.requests == []


def test_the_nearest_are_those_that_comparing_each_by_itself_finds() -> None:
    random = np.random.default_rng(7)
    vectors = random.standard_normal((500, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    wanted = vectors[123]
    halves = [
        nearest._Matrix(1, np.arange(250), vectors[:250]),
        nearest._Matrix(1, np.arange(250, 500), vectors[250:]),
    ]

    best = sorted(range(500), key=lambda id: -float(vectors[id] @ wanted))
    assert nearest._nearest(halves, wanted, -1, 10) == best[:10]
    assert nearest._nearest(halves, wanted, 0.99, 10) == [123]
    assert nearest._nearest([], wanted, 0.2, 10) == []
