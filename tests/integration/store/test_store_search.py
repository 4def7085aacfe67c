"""The search through titles and messages: what it finds, and where."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
import sqlalchemy as sa

from runtime.errors import SearchTooLong
from runtime.maintenance.fold import Fold
from runtime.model import Role, Thread, User
from runtime.store import Connection, Database, search, states, threads, unfolded
from runtime.store.states import NewMessage
from runtime.store.tables import messages
from runtime.store.tables import threads as threads_table


def make(database: Database, user: User, title: str | None, *texts: str) -> Thread:
    thread = database.write(threads.create, workspace_id=user.workspace_id, user_id=user.id, title=title)
    for text in texts:
        say(database, thread, text)
    return thread


def say(database: Database, thread: Thread, *texts: str, parent_id: str = "") -> str:
    new = [NewMessage(Role.USER, text) for text in texts]
    parent_id = parent_id or thread.root_state_id
    [added] = database.write(states.add, thread_id=thread.id, parent_id=parent_id, messages=new)
    return added.id


def find(database: Database, user: User, query: str, **how: Any) -> list[search.Found]:
    return database.search(search.find, user.workspace_id, query=query, **how).items


def titles(database: Database, user: User, query: str) -> list[str | None]:
    return [found.thread.title for found in find(database, user, query)]


def marked(hit: search.Hit) -> list[str]:
    assert hit.snippet is not None
    return [hit.snippet[start:end] for start, end in hit.marks]


def test_words_are_found_in_any_order_and_all_in_one_message(database: Database, user: User) -> None:
    make(database, user, "one", "An elm is not an oak.")
    make(database, user, "two", "An elm.", "An oak.")

    assert titles(database, user, "oak elm") == ["one"]
    assert titles(database, user, '"not an oak"') == ["one"]
    assert titles(database, user, '"oak an"') == []
    assert titles(database, user, "oak beech") == []


def test_a_title_and_a_message_may_share_the_words(database: Database, user: User) -> None:
    make(database, user, "Trees", "An elm.")
    make(database, user, "Flowers", "An elm.")
    make(database, user, "Trees without elms")

    assert sorted(filter(None, titles(database, user, "elm trees"))) == ["Trees", "Trees without elms"]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Ein Café", "cafe"),
        (unicodedata.normalize("NFD", "Ein Café"), "CAFÉ"),
        ("Ein Cafe", "café"),
        ("Ein Café", unicodedata.normalize("NFD", "café")),
        ("Die STRASSE", "straße"),
        ("İstanbul'da", "istanbul"),
        ("ISPARTA", "ısparta"),
        ("東京都に行く", "京都"),
        ("ภาษาไทยไม่มีช่องว่าง", "ไทย"),
        ("unfindable", "findab"),
        ("an old\noak", '"old oak"'),
        ("alte\nBäume", '"alte baume"'),
        ("Ünïcödé 😀 emoji", "😀"),
    ],
)
def test_the_same_is_found_on_every_database(database: Database, user: User, text: str, query: str) -> None:
    make(database, user, "in a message", text)
    make(database, user, text)
    make(database, user, "nothing", "of the kind")

    found = titles(database, user, query)

    assert sorted(filter(None, found)) == sorted(["in a message", text])


@pytest.mark.parametrize("query", ["%", "_", "100%", "\\", "/", '"', "'", ":x"])
def test_every_character_stands_for_itself(database: Database, user: User, query: str) -> None:
    make(database, user, "nothing special", "nothing at all")
    make(database, user, f"sure: 1{query}2")
    make(database, user, "said", f"sure: 1{query}2")

    assert sorted(filter(None, titles(database, user, query))) == ["said", f"sure: 1{query}2"]


def test_a_hit_says_where_it_is(database: Database, user: User) -> None:
    thread = make(database, user, "About oaks")
    say(database, thread, "An oak.")
    state = say(database, thread, "No tree.", "The newest\noak stands here.")
    say(database, thread, "An elm.")

    [found] = find(database, user, "Oak")

    [_, message] = database.read(states.get, user.workspace_id, state).messages or ()
    assert (found.hit.state_id, found.hit.message_id) == (state, message.id)
    assert found.hit.snippet == "The newest oak stands here."
    assert marked(found.hit) == ["oak"]
    assert list(found.hit.title_marks) == [(6, 9)]


def test_a_hit_in_the_title_alone_has_no_message(database: Database, user: User) -> None:
    make(database, user, "About oaks", "An elm.")

    [found] = find(database, user, "oaks")

    assert found.hit == search.Hit([(6, 10)])


def test_the_snippet_of_a_long_text_shows_what_was_found(database: Database, user: User) -> None:
    decomposed = unicodedata.normalize("NFD", "é") * 5000  # its folded form is half as long
    make(database, user, "long", "word " * 50_000 + "oak" + " word" * 50_000)
    make(database, user, "decomposed", decomposed + " Eiche")

    [found] = find(database, user, "OAK")
    assert marked(found.hit) == ["oak"]
    [found] = find(database, user, "eiche")
    assert marked(found.hit) == ["Eiche"]


def test_pages_of_a_search_put_together_are_all_that_was_found(database: Database, user: User) -> None:
    for number in range(7):
        make(database, user, str(number), "An oak.")
    seen: list[str | None] = []
    cursor = None
    while True:
        page = database.search(search.find, user.workspace_id, query="oak", limit=3, cursor=cursor)
        seen += [found.thread.title for found in page.items]
        assert all(found.hit.message_id for found in page.items)
        if (cursor := page.next) is None:
            break

    assert seen == [str(number) for number in reversed(range(7))]


def test_a_renamed_thread_is_found_by_its_new_title(database: Database, user: User) -> None:
    thread = make(database, user, "Bäume")
    database.write(threads.update, user.workspace_id, thread.id, title="Flüsse")

    assert titles(database, user, "baume") == []
    assert titles(database, user, "FLUSSE") == ["Flüsse"]


def test_a_search_that_takes_too_long_is_ended_and_leaves_nothing_behind(
    database: Database, user: User
) -> None:
    thread = make(database, user, None, *["Bäume " * 50_000] * 20)

    with pytest.raises(SearchTooLong, match=r"longer than 0\.001 seconds"):
        database.engine.search(0.001, search.find, user.workspace_id, query="oak")

    [found] = find(database, user, "bäume b")
    assert found.thread.id == thread.id
    assert titles(database, user, "oak") == []  # on the same connection, as long as it takes


@pytest.fixture
def as_before(database: Database, user: User) -> None:
    """A thread as an earlier version has stored it."""
    make(database, user, "Flüsse", "Große Bäume", "trees", "Kleine Bäume")

    def unfold(c: Connection) -> None:
        c.execute(messages.update().values(folded=None))
        c.execute(threads_table.update().values(folded=sa.literal("")))

    database.write(unfold)


def folded(database: Database) -> list[str | None]:
    def read(c: Connection) -> list[str | None]:
        rows = c.execute(sa.select(messages.c.folded).order_by(messages.c.created_at, messages.c.id))
        return [*rows.scalars(), *c.execute(sa.select(threads_table.c.folded)).scalars()]

    return database.read(read)


@pytest.mark.usefixtures("as_before")
def test_what_an_earlier_version_stored_is_found_and_then_folded(database: Database, user: User) -> None:
    for query in ("bäume", "flüsse", "TREES"):
        assert titles(database, user, query) == ["Flüsse"], query

    while database.write(unfolded.fold_some):
        pass

    assert folded(database) == ["grosse baume", None, "kleine baume", "flusse"]
    for query in ("baume", "FLUSSE", "trees"):
        assert titles(database, user, query) == ["Flüsse"], query


@pytest.mark.usefixtures("as_before")
def test_the_reaper_folds_once_the_processes_of_the_version_before_are_gone(database: Database) -> None:
    before = folded(database)
    Fold(database).fold_earlier()
    assert folded(database) == before

    Fold(database, roll_out=0).fold_earlier()
    assert folded(database) == ["grosse baume", None, "kleine baume", "flusse"]
