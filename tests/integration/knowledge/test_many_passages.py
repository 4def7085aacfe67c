"""A search among many passages ranks a part of them, and finds what ranking all of them would."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runtime.knowledge import ranking, search_postgresql, store, words
from runtime.knowledge.model import Kind, Language, Passage, Project
from runtime.knowledge.store import NewDocument
from runtime.model import User
from runtime.store import Database, users

pytestmark = pytest.mark.databases

PASSAGES = 400


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many passages are many."""
    monkeypatch.setattr(ranking, "MOST", 30)
    monkeypatch.setattr(ranking, "FEW", 5)


def put(
    database: Database, user: User, name: str, texts: Iterator[str] | list[str], project: str | None = None
) -> str:
    source = database.write(store.create_source, user.workspace_id, user.id, name, Language.ENGLISH, project)
    parts = [Passage((), text, words.searched(text)) for text in texts]
    new = NewDocument("document", None, Kind.TEXT, 0, "-", parts)
    database.write(store.put_document, user.workspace_id, source.id, new)
    return source.id


def found(database: Database, user: User, query: str, source_id: str | None = None) -> list[str]:
    items = database.search(store.search, user.workspace_id, query, 3, source_id)
    return [one.text for one in items]


@pytest.fixture
def full(database: Database, user: User) -> str:
    """Passages that have three words each of which a quarter has, some two of them, one all three.

    The id of another source, which has but one passage.
    """
    common = ("apple", "banana", "cherry")
    texts = [f"number{n} {common[n % 4] if n % 4 < 3 else 'nothing'} stands here" for n in range(PASSAGES)]
    texts += [f"pair{n} apple banana stand here" for n in range(10)]
    texts += ["apple banana cherry stand here", "the unicorn stands here"]
    put(database, user, "many", texts)
    return put(database, user, "few", ["apple is all"])


@pytest.mark.usefixtures("full")
def test_the_passage_that_has_all_frequent_words_is_the_first(database: Database, user: User) -> None:
    [first, second, _] = found(database, user, "apple banana cherry")

    assert first == "apple banana cherry stand here"
    assert second.startswith("pair")


@pytest.mark.usefixtures("full")
def test_a_rare_word_goes_before_frequent_ones(database: Database, user: User) -> None:
    assert found(database, user, "number7 stands here apple")[0] == "number7 nothing stands here"
    assert found(database, user, "unicorn banana apple")[0] == "the unicorn stands here"


@pytest.mark.usefixtures("full")
def test_a_rare_word_is_found_behind_more_passages_with_frequent_ones_than_are_ranked(
    database: Database, user: User
) -> None:
    assert found(database, user, "unicorn stands here apple")[0] == "the unicorn stands here"


@pytest.mark.usefixtures("full")
def test_a_word_that_most_passages_have_is_found_by_itself(database: Database, user: User) -> None:
    assert len(found(database, user, "stand")) == 3
    assert len(found(database, user, "stand here")) == 3


def test_passages_with_any_word_fill_the_places_that_are_left(database: Database, user: User) -> None:
    texts = [f"{word} {number}" for word in ("alpha", "beta") for number in range(PASSAGES)]
    put(database, user, "apart", [*texts, "gamma"])

    assert len(found(database, user, "alpha beta")) == 3
    [first, *others] = found(database, user, "gamma beta")
    assert first == "gamma"
    assert [one.split()[0] for one in others] == ["beta", "beta"]


@pytest.mark.usefixtures("full")
def test_a_rare_word_goes_first_where_a_frequent_one_was_taken_for_rare(
    database: Database, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_postgresql._Sample, "frequencies", lambda self: dict.fromkeys(self.words, 1.0))

    assert found(database, user, "stand unicorn")[0] == "the unicorn stands here"


def test_a_small_source_is_found_among_many_passages(database: Database, user: User, full: str) -> None:
    assert found(database, user, "apple", full) == ["apple is all"]
    assert found(database, user, "banana", full) == []


@pytest.mark.usefixtures("full")
def test_many_passages_of_others_make_no_difference(database: Database) -> None:
    other = database.write(users.register, email="bob@example.com", password_hash="-")
    put(database, other, "mine", ["one apple", "no fruit"])

    assert found(database, other, "apple stands here") == ["one apple"]


def test_more_sources_than_the_index_is_asked_for_are_searched_alike(
    database: Database, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, project in enumerate(["a", "a", "b", None]):
        put(database, user, f"source {number}", [f"text{number} walnut", "all the rest"], project)

    for named in (10, 2):
        monkeypatch.setattr(search_postgresql, "_NAMED", named)
        items = database.search(store.search, user.workspace_id, "walnut", 5, None, Project("a"))
        assert {one.source for one in items} == {"source 0", "source 1", "source 3"}
