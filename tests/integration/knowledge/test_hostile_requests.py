"""What an enemy may ask of the knowledge base is answered, as anything else is, on both databases."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from tests.support.knowledge import CATS, add, found, source
from tests.support.web import Client

LIGATURE = "\ufdfa"
"""One character that is eighteen, some of them spaces, once it is folded."""


@pytest.mark.parametrize(
    "query",
    [
        "x" * 1000, "\U00010400" * 1000, LIGATURE * 1000, "\u0130" * 1000, "a\0b", "mice\0", "\ufffe\uffff",
        "e\u0301" * 500, '"mice" NEAR/2 (', "'mice':*A & !! -words:x ^", "\u202emice", "1e5 0x1f 007",
        " ".join(f"w{number}" for number in range(200)), " ".join("abcdefghijklmnopqrstuvwxyz" * 19)[:1000],
        "\u200d\u200b", "\U000e0001", "\u0e33" * 900, "\uac01" * 900, "_" * 1000, "½⅞²",
    ],
    ids=[
        "long", "four bytes", "ligatures", "dotted", "nul", "nul at the end", "no characters", "accents",
        "fts5", "tsquery", "direction", "numbers", "words", "letters", "joiners", "tag", "thai",
        "korean", "lines", "fractions",
    ],
)  # fmt: skip
def test_every_text_can_be_searched_for(ada: Client, query: str) -> None:
    add(ada, source(ada), "cats.md", f"{CATS}\n\n{query}\n".replace("\0", ""))

    answer = ada.get("/api/knowledge/search", query_string={"q": query})
    assert answer.status_code in (200, 422), answer.text
    assert [one["titles"] for one in found(ada, "purr")] == [["Cats"]]


@pytest.mark.parametrize("text", ["\0", "a\0b", "\x7f\x01"], ids=["nul", "within", "control"])
def test_signs_that_no_database_takes_are_refused_or_left_out(ada: Client, text: str) -> None:
    animals = source(ada)
    sources = f"/api/knowledge/sources/{animals}"

    def status(method: str, path: str, **given: Any) -> int:
        return ada.open(path, method=method, **given).status_code

    cursor = base64.urlsafe_b64encode(orjson.dumps([text])).decode().rstrip("=")
    statuses = {
        "label of a source": status(
            "POST", "/api/knowledge/sources", json={"name": f"x{text}", "project_id": text}
        ),
        "label that is searched": status(
            "GET", "/api/knowledge/search", query_string={"q": "cat", "project_id": text}
        ),
        "label that is listed": status("GET", "/api/knowledge/sources", query_string={"project_id": text}),
        "cursor of sources": status("GET", "/api/knowledge/sources", query_string={"cursor": cursor}),
        "cursor of documents": status("GET", f"{sources}/documents", query_string={"cursor": cursor}),
        "address": status("POST", f"{sources}/ingestions", json={"urls": [f"http://example.com/{text}"]}),
        "name of a document": add(ada, animals, "cats.md", CATS, name=f"x{text}").status_code,
        "language": status("POST", "/api/knowledge/sources", json={"name": "y", "language": text}),
    }

    assert {name: code for name, code in statuses.items() if code >= 500} == {}


def test_half_a_character_is_refused_or_left_out(ada: Client) -> None:
    animals = source(ada)
    half = r"\ud800"
    bodies = {
        "/api/knowledge/sources": ['{"name": "%s"}', '{"name": "z", "project_id": "%s"}'],
        f"/api/knowledge/sources/{animals}/ingestions": ['{"urls": ["http://example.com/%s"]}'],
    }

    for path, some in bodies.items():
        for body in some:
            answer = ada.post(path, data=body % half, content_type="application/json")
            assert answer.status_code in (400, 422), answer.text
    cursor = base64.urlsafe_b64encode(f'["{half}"]'.encode()).decode().rstrip("=")
    assert ada.get("/api/knowledge/sources", query_string={"cursor": cursor}).status_code == 422


@pytest.mark.parametrize(
    "first", ["-1", "1e3", "9" * 30, "\u0661"], ids=["negative", "float", "huge", "arabic"]
)
def test_places_of_passages_are_bounded(ada: Client, first: str) -> None:
    animals = source(ada)
    document = add(ada, animals, "cats.md", CATS).json["document"]["id"]
    path = f"/api/knowledge/sources/{animals}/documents/{document}/passages"

    assert ada.get(path, query_string={"first": first}).status_code == 422


def test_the_documents_of_another_source_are_not_read_through_ones_own(ada: Client, bob: Client) -> None:
    theirs = add(ada, source(ada), "cats.md", CATS).json["document"]["id"]
    mine = source(bob)

    path = f"/api/knowledge/sources/{mine}/documents/{theirs}"
    assert bob.get(f"{path}/passages").status_code == bob.delete(path).status_code == 404
    assert len(found(ada, "mice")) == 1
