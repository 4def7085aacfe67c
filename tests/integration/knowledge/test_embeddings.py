"""Passages get vectors after their document is committed, each once, whatever the endpoint does meanwhile."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import gevent
import pytest
import sqlalchemy as sa

from runtime.errors import EmbeddingsUnavailable
from runtime.knowledge import embedder as embedding
from runtime.knowledge import embeddings
from runtime.knowledge.embedder import Embedder
from runtime.knowledge.endpoint import Endpoint
from runtime.knowledge.tables import embeddings as table
from runtime.store import Database, outbox
from runtime.store.outbox import Waiting
from runtime.store.tables import outbox as tasks
from tests.support.fake_embeddings import FakeEmbeddings
from tests.support.knowledge import CATS, DOGS, add, found, source
from tests.support.web import Client
from web.core import Core
from web.knowledge import service

pytestmark = pytest.mark.usefixtures("with_vectors")


def finish(embedder: Embedder) -> None:
    while embedder.embed_some():
        pass


def make_due(database: Database) -> None:
    """As if time had passed."""
    database.write(lambda c: c.execute(tasks.update().values(due_at=outbox.now())))


def progress(client: Client, source_id: str) -> tuple[int, int]:
    shown = client.get(f"/api/knowledge/sources/{source_id}").json["source"]
    return shown["embedded"], shown["passages"]


def waiting(core: Core) -> list[Waiting]:
    return [one for one in core.database.read(outbox.counts) if one.kind == embeddings.EMBED]


def other(core: Core, **settings: object) -> Embedder:
    """Of a process with other settings."""
    endpoint = Endpoint(replace(core.settings.embeddings, **settings))
    return Embedder(core.database, endpoint)


def test_passages_get_vectors_once_their_document_is_there(
    ada: Client, core: Core, embedder: Embedder, fake: FakeEmbeddings
) -> None:
    animals = source(ada)
    add(ada, animals, "cats.md", CATS)
    add(ada, animals, "dogs.md", DOGS)
    assert progress(ada, animals) == (0, 4)
    assert len(found(ada, "mice")) == 1  # by its words, while it waits

    finish(embedder)

    assert progress(ada, animals) == (4, 4)
    assert waiting(core) == []
    assert "Cats > Café society\nCrème brûlée is for people." in fake.texts()
    [query, *passages] = fake.texts()
    assert query == "mice"
    assert len(passages) == len(set(passages)) == 4
    assert [len(one["input"]) for one in fake.requests] == [1, 2, 2]
    assert fake.requests[0]["path"] == "/v1/embeddings"
    assert fake.requests[0]["model"] == "meanings"
    assert "dimensions" not in fake.requests[0]
    assert fake.headers[0]["authorization"] == "Bearer a-secret-key"
    listed = ada.get("/api/knowledge/sources").json["items"]
    assert [one["embedded"] for one in listed] == [4]


def test_an_unchanged_document_is_not_embedded_again_and_a_changed_one_is(
    ada: Client, embedder: Embedder, fake: FakeEmbeddings
) -> None:
    animals = source(ada)
    for content in (CATS, CATS, DOGS):
        add(ada, animals, "pets.md", content)
        finish(embedder)

    assert len(fake.texts()) == 4
    assert progress(ada, animals) == (1, 1)


def test_another_process_goes_on_where_one_has_died(
    ada: Client, core: Core, embedder: Embedder, fake: FakeEmbeddings
) -> None:
    animals = source(ada)
    add(ada, animals, "cats.md", CATS)
    assert embedder.embed_some()
    assert progress(ada, animals) == (2, 3)

    make_due(core.database)
    finish(other(core))

    assert progress(ada, animals) == (3, 3)
    assert len(fake.texts()) == 3


@pytest.mark.parametrize(
    ("changed", "embedded"),
    [
        ("# Cats\n\nThey purr.\n", "Cats\nThey purr."),
        (DOGS.replace("# Dogs", "# Wolves"), "Wolves\nThey bark at the postman."),
    ],
    ids=["text", "heading"],
)
def test_a_document_that_changes_while_it_is_embedded_keeps_no_old_vector(
    ada: Client, embedder: Embedder, fake: FakeEmbeddings, monkeypatch: pytest.MonkeyPatch,
    changed: str, embedded: str | None,
) -> None:  # fmt: skip
    animals = source(ada)
    add(ada, animals, "pets.md", DOGS)
    ask = Endpoint.embed

    def change(self: Endpoint, texts: list[str]) -> list[bytes]:
        monkeypatch.setattr(Endpoint, "embed", ask)
        vectors = ask(self, texts)
        add(ada, animals, "pets.md", changed)
        return vectors

    monkeypatch.setattr(Endpoint, "embed", change)
    embedder.embed_some()
    assert progress(ada, animals) == (0, 1)

    finish(embedder)
    assert progress(ada, animals) == (1, 1)
    assert fake.texts()[-1] == embedded


@pytest.mark.parametrize(
    ("status", "retry_after", "least"),
    [(503, None, 1), (429, "30", 30), (401, "nonsense", 1)],
    ids=["away", "too many", "key"],
)
def test_an_endpoint_that_fails_is_left_alone_for_a_while(
    ada: Client, core: Core, embedder: Embedder, fake: FakeEmbeddings, caplog: pytest.LogCaptureFixture,
    status: int, retry_after: str | None, least: float,
) -> None:  # fmt: skip
    add(ada, source(ada), "dogs.md", DOGS)
    fake.status, fake.retry_after = status, retry_after
    assert not embedder.embed_some()

    with caplog.at_level(logging.DEBUG):
        assert not embedder.embed_some()
    [task] = core.database.read(lambda c: c.execute(sa.select(tasks)).all())
    assert (task.due_at - task.created_at).total_seconds() >= least
    assert task.tries == 0  # it is never given up
    assert str(status) in task.error
    make_due(core.database)
    assert not embedder.embed_some()
    assert len(fake.requests) == 1
    assert "a-secret-key" not in caplog.text + task.error

    fake.status = 200
    finish(other(core))
    assert waiting(core) == []


def test_a_passage_that_is_refused_keeps_no_other_waiting(
    ada: Client, core: Core, embedder: Embedder, fake: FakeEmbeddings
) -> None:
    animals = source(ada)
    fake.refused = ("mice",)
    add(ada, animals, "cats.md", CATS)

    finish(embedder)

    assert waiting(core) == []
    vectors = core.database.read(lambda c: c.execute(sa.select(table.c.vector)).scalars().all())
    assert sorted(vector is None for vector in vectors) == [False, False, True]


@pytest.mark.parametrize("status", [500, 200], ids=["error", "no vector"])
def test_a_passage_that_the_endpoint_fails_at_keeps_no_other_waiting_for_long(
    ada: Client, core: Core, embedder: Embedder, fake: FakeEmbeddings, monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(embedding, "_FIRST_PAUSE", 0.0)
    animals = source(ada)
    fake.refused, fake.refusal = ("mice",), status
    add(ada, animals, "cats.md", CATS)

    assert [embedder.embed_some() for _ in range(3)] == [False] * 3
    assert progress(ada, animals) == (0, 3)
    finish(embedder)

    assert waiting(core) == []
    vectors = core.database.read(lambda c: c.execute(sa.select(table.c.vector)).scalars().all())
    assert sorted(vector is None for vector in vectors) == [False, False, True]


def test_what_was_made_before_a_failure_is_kept(
    ada: Client, embedder: Embedder, fake: FakeEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    animals = source(ada)
    add(ada, animals, "cats.md", CATS)
    ask = Endpoint.embed

    def fail(self: Endpoint, texts: list[str]) -> list[bytes]:
        if len(texts) > 1:
            raise EmbeddingsUnavailable("refuses", 413)
        if "mice" in texts[0]:
            raise EmbeddingsUnavailable("is away", 503)
        return ask(self, texts)

    monkeypatch.setattr(Endpoint, "embed", fail)

    assert not embedder.embed_some()
    assert progress(ada, animals) == (1, 3)


def test_an_endpoint_that_refuses_everything_refuses_no_passage(
    ada: Client, core: Core, embedder: Embedder, fake: FakeEmbeddings
) -> None:
    animals = source(ada)
    fake.refused = ("",)
    add(ada, animals, "dogs.md", DOGS)

    assert not embedder.embed_some()
    assert progress(ada, animals) == (0, 1)

    fake.refused = ()
    make_due(core.database)
    finish(other(core))
    assert progress(ada, animals) == (1, 1)


@pytest.mark.parametrize(
    "answer",
    [b"no JSON", b"{}", b'{"data": []}', b'{"data": [{"index": 0, "embedding": [0, 0]}]}',
     b'{"data": [{"index": 1, "embedding": [1, 0]}]}', b'{"data": [{"index": 0, "embedding": ["1"]}]}'],
    ids=["text", "empty", "none", "zero", "index", "strings"],
)  # fmt: skip
def test_something_else_than_vectors_is_not_stored(
    ada: Client, embedder: Embedder, fake: FakeEmbeddings, answer: bytes
) -> None:
    animals = source(ada)
    add(ada, animals, "dogs.md", DOGS)
    fake.sent = answer

    assert not embedder.embed_some()
    assert progress(ada, animals) == (0, 1)


def test_another_model_has_everything_embedded_anew(
    ada: Client, core: Core, embedder: Embedder, fake: FakeEmbeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "_AT_ONCE", 1)
    animals = source(ada)
    add(ada, animals, "cats.md", CATS)
    add(ada, animals, "dogs.md", DOGS)
    finish(embedder)

    changed = other(core, dimensions=3)
    while core.database.write(embeddings.note_model, "meanings/3"):
        pass
    finish(changed)

    assert len(fake.texts()) == 8
    assert fake.requests[-1]["dimensions"] == 3
    models = core.database.read(lambda c: c.execute(sa.select(table.c.model)).scalars().all())
    assert models == ["meanings/3"] * 4
    assert not core.database.write(embeddings.note_model, "meanings/3")


def test_a_process_of_another_model_leaves_what_is_not_its_own(
    ada: Client, core: Core, embedder: Embedder, fake: FakeEmbeddings
) -> None:
    animals = source(ada)
    add(ada, animals, "dogs.md", DOGS)

    finish(other(core, model="before"))
    assert fake.requests == []
    [left] = waiting(core)
    assert left.due == 0
    make_due(core.database)
    finish(embedder)
    assert progress(ada, animals) == (1, 1)

    add(ada, animals, "dogs.md", CATS)
    long_ago = datetime.now(UTC) - timedelta(hours=2)
    core.database.write(lambda c: c.execute(tasks.update().values(created_at=long_ago)))
    finish(other(core, model="before"))
    assert waiting(core) == []
    assert progress(ada, animals) == (0, 3)

    embedder.reconcile()
    finish(embedder)
    assert progress(ada, animals) == (3, 3)
    embedder.reconcile()
    assert waiting(core) == []


def test_tasks_of_an_endpoint_that_was_taken_away_are_dropped(
    ada: Client, core: Core, embedder: Embedder
) -> None:
    animals = source(ada)
    add(ada, animals, "dogs.md", DOGS)

    service._forget(core)
    with gevent.Timeout(30):
        while waiting(core):
            gevent.sleep(0.01)

    assert core.database.write(embeddings.note_model, "meanings")
    finish(embedder)
    assert progress(ada, animals) == (1, 1)


def test_what_was_added_without_an_endpoint_gets_vectors_when_there_is_one(
    ada: Client, core: Core, embedder: Embedder
) -> None:
    animals = source(ada)
    while core.database.write(embeddings.note_model, "meanings"):
        pass
    endpoint, ada.application.extensions["knowledge"] = ada.application.extensions["knowledge"], None
    add(ada, animals, "cats.md", CATS)
    assert ada.get(f"/api/knowledge/sources/{animals}").json["source"]["embedded"] is None

    ada.application.extensions["knowledge"] = endpoint
    while core.database.write(embeddings.note_model, "meanings"):
        pass
    finish(embedder)

    assert progress(ada, animals) == (3, 3)


def test_a_web_process_with_an_endpoint_embeds(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []  # in place of duties that would outlive the test
    monkeypatch.setattr(core.duties, "start", lambda name, *_, **__: begun.append(name))
    core.warm_up()

    assert "embed passages" in begun
