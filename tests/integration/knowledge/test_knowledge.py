"""The knowledge base: what is added is found, by whoever it belongs to, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa

from runtime.errors import Conflict
from runtime.knowledge import ingestion_store, reading, store
from runtime.knowledge.model import Language
from runtime.knowledge.tables import sources
from runtime.model import Run
from runtime.process_pool import ProcessPool
from runtime.store import users
from tests.support.knowledge import CATS, DOGS, add, found, source
from tests.support.web import Client
from web.core import Core

pytestmark = pytest.mark.databases


def marked(passage: dict[str, Any]) -> list[str]:
    return [passage["text"][start:end] for start, end in passage["marks"]]


def test_a_passage_is_found_with_its_place_and_what_was_searched_in_it(
    ada: Client,
) -> None:
    animals = source(ada)
    added = add(ada, animals, "pets/cats.md", CATS, name="pets/cats.md")
    add(ada, animals, "dogs.md", DOGS)

    assert added.status_code == 201, added.text
    document = added.json["document"]
    assert (document["name"], document["title"], document["kind"]) == (
        "pets/cats.md",
        "Cats",
        "markdown",
    )
    assert document["passages"] == 3
    [best, *_] = found(ada, "Which mice does a cat eat?")
    assert best["text"] == "A cat eats mice, and drinks water. Milk is not good for it."
    assert (best["titles"], best["position"]) == (["Cats", "Food"], 1)
    assert (best["source"], best["source_id"], best["document"]) == (
        "animals",
        animals,
        "pets/cats.md",
    )
    assert marked(best) == ["A", "cat", "eats", "mice"]


def test_an_ingestion_of_a_source_that_is_deleted_meanwhile_does_not_begin(
    ada: Client, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    animals = source(ada)
    note = ingestion_store.note

    def late(c: sa.Connection, source_id: str, run: Run) -> None:
        c.execute(sources.delete().where(sources.c.id == source_id))
        note(c, source_id, run)

    monkeypatch.setattr(ingestion_store, "note", late)
    path = f"/api/knowledge/sources/{animals}/ingestions"

    assert ada.post(path, json={"urls": ["https://example.com/"]}).status_code == 404


@pytest.mark.parametrize("query", ["creme brulee", "CRÈME", "brûlées"], ids=["plain", "upper", "ending"])
def test_case_accents_and_endings_make_no_difference(ada: Client, query: str) -> None:
    add(ada, source(ada), "cats.md", CATS)

    assert [one["titles"] for one in found(ada, query)] == [["Cats", "Café society"]]


@pytest.mark.parametrize(
    "query",
    [
        '"', "*", "AND OR NOT", "() -", "words : (", "NEAR(a b)", "& | ! <->", "'; --", "\\", ":*",
        "workspace_id:",
    ],
    ids=["quote", "star", "names", "signs", "column", "near", "ts", "sql", "backslash", "prefix", "scope"],
)  # fmt: skip
def test_operators_are_words_or_nothing(ada: Client, query: str) -> None:
    add(ada, source(ada), "dogs.md", DOGS)

    assert found(ada, query) == []


def test_a_search_is_of_one_workspace_and_if_wanted_of_one_source(ada: Client, bob: Client) -> None:
    mine, other, theirs = source(ada), source(ada, "more"), source(bob)
    add(ada, mine, "dogs.md", DOGS)
    add(ada, other, "dogs.md", DOGS)
    add(bob, theirs, "cats.md", CATS)

    assert {one["source_id"] for one in found(ada, "postman")} == {mine, other}
    assert {one["source_id"] for one in found(ada, "postman", source=other)} == {other}
    assert found(ada, "mice") == found(bob, "postman") == []
    assert len(found(ada, "postman", k=1)) == 1
    assert ada.get("/api/knowledge/search", query_string={"q": "mice", "source": theirs}).status_code == 404


def test_another_workspaces_source_is_not_there(ada: Client, bob: Client) -> None:
    mine = source(ada)
    document = add(ada, mine, "dogs.md", DOGS).json["document"]["id"]
    path = f"/api/knowledge/sources/{mine}"

    assert add(bob, mine, "dogs.md", CATS).status_code == 404
    for method, at in [
        ("GET", path), ("DELETE", path), ("GET", f"{path}/documents"),
        ("DELETE", f"{path}/documents/{document}"),
    ]:  # fmt: skip
        assert bob.open(at, method=method).status_code == 404, (method, at)
    assert bob.delete(f"/api/knowledge/sources/{source(bob)}/documents/{document}").status_code == 404
    assert len(found(ada, "postman")) == 1


def test_a_changed_document_replaces_its_passages_and_an_unchanged_one_is_not_read(
    ada: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    animals = source(ada)
    first = add(ada, animals, "pets.md", CATS).json
    second = add(ada, animals, "pets.md", DOGS).json

    assert first["changed"] and second["changed"]
    assert first["document"]["id"] == second["document"]["id"]
    assert found(ada, "mice") == []
    assert len(found(ada, "postman")) == 1

    monkeypatch.setattr(reading, "read", lambda *_: pytest.fail("it was read again"))
    third = add(ada, animals, "pets.md", DOGS).json
    assert (third["changed"], third["document"]) == (False, second["document"])


def test_a_document_or_a_source_that_is_deleted_is_not_found(ada: Client) -> None:
    animals = source(ada)
    document = add(ada, animals, "cats.md", CATS).json["document"]["id"]
    add(ada, animals, "dogs.md", DOGS)
    path = f"/api/knowledge/sources/{animals}"

    assert ada.delete(f"{path}/documents/{document}").status_code == 204
    assert found(ada, "mice") == []
    listed = ada.get(f"{path}/documents").json["items"]
    assert [one["name"] for one in listed] == ["dogs.md"]
    shown = ada.get(path).json["source"]
    assert (shown["documents"], shown["passages"]) == (1, 1)

    assert ada.delete(path).status_code == 204
    assert found(ada, "postman") == []
    assert ada.get(path).status_code == 404
    assert ada.get("/api/knowledge/sources").json == {"items": [], "next": None}


def test_the_passages_around_one_that_was_found_are_read(ada: Client, bob: Client) -> None:
    animals = source(ada)
    document = add(ada, animals, "cats.md", CATS).json["document"]["id"]
    path = f"/api/knowledge/sources/{animals}/documents/{document}/passages"
    [best] = found(ada, "mice")

    around = ada.get(path, query_string={"first": best["position"], "limit": 2}).json["items"]
    assert [(one["position"], one["titles"]) for one in around] == [
        (1, ["Cats", "Food"]),
        (2, ["Cats", "Café society"]),
    ]
    assert around[0]["text"] == best["text"]
    assert len(ada.get(path).json["items"]) == 3
    assert ada.get(path, query_string={"first": 3}).json["items"] == []
    assert bob.get(path).status_code == 404
    assert [marked(one) for one in around] == [[], []]
    searched = ada.get(path, query_string={"q": "eating mice, brulee"}).json["items"]
    assert [marked(one) for one in searched] == [[], ["eats", "mice"], ["brûlée"]]


def test_a_document_is_shown_and_its_source_tells_when_it_has_changed_last(ada: Client, bob: Client) -> None:
    animals = source(ada)
    path = f"/api/knowledge/sources/{animals}"
    made = ada.get(path).json["source"]
    assert made["updated_at"] == made["created_at"]
    added = [add(ada, animals, name, DOGS).json["document"] for name in ("1.md", "2.md")]

    assert ada.get(path).json["source"]["updated_at"] == added[1]["updated_at"]
    [listed] = ada.get("/api/knowledge/sources").json["items"]
    assert listed["updated_at"] == added[1]["updated_at"]
    of_document = f"{path}/documents/{added[0]['id']}"
    assert ada.get(of_document).json == {"document": added[0]}
    assert bob.get(of_document).status_code == 404
    assert ada.get(f"{path}/documents/{animals}").status_code == 404


def test_sources_and_documents_are_listed_by_their_names_in_pages(ada: Client) -> None:
    ids = {name: source(ada, name) for name in ("b", "a", "c")}
    for name in ("2.md", "1.md", "3.md"):
        add(ada, ids["a"], name, DOGS)

    for path, names in [
        ("/api/knowledge/sources", ["a", "b", "c"]),
        (f"/api/knowledge/sources/{ids['a']}/documents", ["1.md", "2.md", "3.md"]),
    ]:
        first = ada.get(path, query_string={"limit": 2}).json
        second = ada.get(path, query_string={"limit": 2, "cursor": first["next"]}).json
        assert [one["name"] for one in first["items"] + second["items"]] == names
        assert second["next"] is None


def test_names_are_unique_in_a_workspace(ada: Client, bob: Client) -> None:
    source(ada)
    source(bob)

    assert ada.post("/api/knowledge/sources", json={"name": "animals"}).status_code == 409


def test_sources_that_are_made_at_once_are_no_more_than_there_may_be(
    ada: Client, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_SOURCES", 3)
    user, barrier = core.database.read(users.get, ada.user["id"]), Barrier(6)

    def make(number: int) -> bool:
        barrier.wait(10)
        try:
            given = (user.workspace_id, user.id, str(number), Language.ENGLISH)
            core.database.write(store.create_source, *given)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        made = [*pool.map(make, range(6))]

    assert made.count(True) == 3


def test_each_source_is_searched_in_its_language(ada: Client) -> None:
    add(
        ada,
        source(ada, "de", language="german"),
        "haus.txt",
        "Die Häuser der Stadt sind alt.",
    )
    add(ada, source(ada, "en"), "houses.txt", "The houses of the town are old.")

    assert [one["source"] for one in found(ada, "Häuser")] == ["de"]
    assert [one["source"] for one in found(ada, "house")] == ["en"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.bin", b"\x00\x01\x02"),
        ("a.pdf", b"%PDF-1.7\n"),
        ("a.txt", b"\xff\xfa\x80 no UTF-8"),
        ("a.md", b"# h\n\n" * 10_001),
        ("a.html", b"<p>a</p><meta charset=punycode>\xff" * 3),
        ("x" * 501, b"a long name"),
    ],
    ids=["binary", "pdf", "latin", "headings", "charset", "name"],
)
def test_what_cannot_be_read_is_refused_and_changes_nothing(ada: Client, name: str, content: bytes) -> None:
    animals = source(ada)
    answer = add(ada, animals, name, content)

    assert answer.status_code == 422, answer.text
    assert answer.json["errors"]
    assert ada.get(f"/api/knowledge/sources/{animals}").json["source"]["documents"] == 0


def test_a_document_that_is_too_large_is_refused(ada: Client) -> None:
    animals = source(ada)

    assert add(ada, animals, "a.txt", b"x " * (reading.LARGEST // 2)).status_code == 201
    for more in (2, 1 << 20):
        assert add(ada, animals, "b.txt", b"x" * (reading.LARGEST + more)).status_code == 413


def test_a_page_has_the_text_that_is_seen(ada: Client) -> None:
    page = """<!doctype html><title>A &amp; B</title><style>p { color: hidden }</style>
    <script>alert("hidden")</script><h1>Top</h1><p>First&nbsp;line<br>second <b>bold</b> word.</p>
    <noscript>hidden</noscript><template><p>hidden</p></template>
    <h2 onclick="hidden()">Below</h2><ul><li>one<li>two</ul><img alt="x" src="http://127.0.0.1:1/hidden">
    <svg><title>hidden</title></svg><!-- hidden --><p>&lt;script&gt;end"""
    document = add(ada, source(ada), "page.html", page).json["document"]

    assert (document["title"], document["kind"]) == ("A & B", "html")
    assert found(ada, "hidden") == []
    [first] = found(ada, "bold")
    assert (first["titles"], first["text"]) == (
        ["Top"],
        "First line\nsecond bold word.",
    )
    [second] = found(ada, "script")
    assert (second["titles"], second["text"]) == (
        ["Top", "Below"],
        "one\ntwo\n\n<script>end",
    )


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A document may be read for a second only."""
    processes = ProcessPool(reading.examine, size=1, seconds=1, patience=30)
    monkeypatch.setattr(reading, "_processes", processes)
    yield
    processes.close()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "page",
    [
        "<div>" * 50_000,
        "<" * 500_000,
        "<a b='" * 50_000,
        "<!--" * 50_000,
        "&#x0;" * 1000 + "\x00",
    ],
    ids=["deep", "open", "quotes", "comments", "nul"],
)
def test_a_hostile_page_ends_in_time_and_holds_up_nobody(ada: Client, page: str) -> None:
    animals = source(ada)
    answer = add(ada, animals, "page.html", page)

    assert answer.status_code in (201, 422), answer.text
    assert add(ada, animals, "dogs.md", DOGS).status_code == 201
