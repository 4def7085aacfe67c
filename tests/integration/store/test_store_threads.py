"""Threads: listing, searching, changing, deleting and restoring."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from runtime.errors import Invalid, NotFound
from runtime.model import Role, Thread, ThreadStatus, User
from runtime.store import Connection, Database, states, threads, users
from runtime.store.states import NewMessage
from runtime.store.tables import messages, now
from runtime.store.tables import states as states_table
from runtime.store.tables import threads as threads_table

DAYS = 30.0
"""That a thread stays in the trash."""


def make(database: Database, user: User, title: str | None = None) -> Thread:
    return database.write(threads.create, workspace_id=user.workspace_id, user_id=user.id, title=title)


def say(database: Database, thread: Thread, text: str) -> None:
    new = [NewMessage(Role.USER, text)]
    database.write(states.add, thread_id=thread.id, parent_id=thread.root_state_id, messages=new)


def titles(database: Database, user: User, **wanted: object) -> list[str | None]:
    page = database.read(threads.listing, user.workspace_id, **wanted)  # type: ignore[arg-type]
    return [thread.title for thread in page.items]


def trash(database: Database, user: User) -> list[str | None]:
    return [thread.title for thread in database.read(threads.trash, user.workspace_id, DAYS).items]


def until_later(database: Database, thread: Thread) -> None:
    """Until the database's clock, which may tick in milliseconds, has moved on."""
    deadline = time.monotonic() + 5
    while database.read(lambda c: c.execute(sa.select(now())).scalar_one()) <= thread.updated_at:
        assert time.monotonic() < deadline


def age(database: Database, thread: Thread, days: float) -> None:
    """As if the thread had been deleted so long ago."""

    def turn_back(c: Connection) -> None:
        then = now(-days * 86400)
        c.execute(threads_table.update().where(threads_table.c.id == thread.id).values(deleted_at=then))

    database.write(turn_back)


def test_a_thread_is_stored_as_it_is_returned(database: Database, user: User) -> None:
    thread = database.write(
        threads.create,
        workspace_id=user.workspace_id,
        user_id=user.id,
        title="Trees",
        worker_id="echo",
        config={"delay_ms": 5},
        metadata={"tags": ["a", None]},
    )

    assert database.read(threads.get, user.workspace_id, thread.id) == thread


def test_nobody_reaches_a_thread_of_another_workspace(database: Database, thread: Thread) -> None:
    eve = database.write(users.register, email="eve@example.com", password_hash="-")

    for act in (threads.get, threads.update, threads.delete):
        with pytest.raises(NotFound):
            database.write(act, eve.workspace_id, thread.id)
    database.write(threads.delete, thread.workspace_id, thread.id)
    database.write(threads.empty_trash, eve.workspace_id)
    with pytest.raises(NotFound):
        database.write(threads.restore, eve.workspace_id, thread.id, DAYS)
    with pytest.raises(NotFound):
        database.write(threads.delete_for_good, eve.workspace_id, thread.id)
    assert trash(database, eve) == []
    database.write(threads.restore, thread.workspace_id, thread.id, DAYS)
    assert titles(database, eve) == []


def test_what_is_named_changes_and_the_rest_stays(database: Database, user: User) -> None:
    thread = make(database, user, "before")

    changed = database.write(threads.update, user.workspace_id, thread.id, worker_id="echo", config={"a": 1})

    assert (changed.title, changed.worker_id, changed.config) == ("before", "echo", {"a": 1})
    cleared = database.write(threads.update, user.workspace_id, thread.id, title=None)
    assert (cleared.title, cleared.config) == (None, {"a": 1})


def test_the_thread_that_was_spoken_in_last_comes_first(database: Database, user: User) -> None:
    one, *_ = (make(database, user, title) for title in ("one", "two", "three"))
    until_later(database, one)
    say(database, one, "again")

    assert titles(database, user)[0] == "one"


def test_pages_put_together_are_the_whole_list(database: Database, user: User) -> None:
    for number in range(11):
        make(database, user, str(number))
    found: list[str | None] = []
    cursor = None
    while True:
        page = database.read(threads.listing, user.workspace_id, limit=3, cursor=cursor)
        found += [thread.title for thread in page.items]
        if (cursor := page.next) is None:
            break

    assert found == titles(database, user, limit=100)
    assert len(set(found)) == 11


def test_a_cursor_of_another_list_is_invalid(database: Database, user: User) -> None:
    with pytest.raises(Invalid) as error:
        database.read(threads.listing, user.workspace_id, cursor="WyJ4Il0")
    assert error.value.errors[0].path == ("cursor",)


def test_archived_threads_are_out_of_the_list(database: Database, user: User) -> None:
    thread = make(database, user, "old")
    make(database, user, "new")
    database.write(threads.update, user.workspace_id, thread.id, status=ThreadStatus.ARCHIVED)

    assert titles(database, user) == ["new"]
    assert titles(database, user, status=ThreadStatus.ARCHIVED) == ["old"]


def test_a_deleted_thread_is_gone_and_can_be_restored(database: Database, user: User) -> None:
    thread = make(database, user, "mistake")
    say(database, thread, "kept")
    deleted = database.write(threads.delete, user.workspace_id, thread.id)

    assert deleted.deleted_at is not None
    assert titles(database, user) == []
    with pytest.raises(NotFound):
        database.read(threads.get, user.workspace_id, thread.id)
    with pytest.raises(NotFound):
        database.read(states.get, user.workspace_id, thread.root_state_id)
    with pytest.raises(NotFound):
        database.write(threads.delete, user.workspace_id, thread.id)
    assert database.read(threads.get, user.workspace_id, thread.id, deleted=True) == deleted

    assert database.write(threads.restore, user.workspace_id, thread.id, DAYS).deleted_at is None
    assert titles(database, user) == ["mistake"]


def test_a_thread_can_be_restored_for_thirty_days(database: Database, user: User) -> None:
    early, late = make(database, user, "early"), make(database, user, "late")
    for thread, days in ((early, 29.9), (late, 30.1)):
        database.write(threads.delete, user.workspace_id, thread.id)
        age(database, thread, days)

    assert trash(database, user) == ["early"]
    database.write(threads.restore, user.workspace_id, early.id, DAYS)
    with pytest.raises(NotFound):
        database.write(threads.restore, user.workspace_id, late.id, DAYS)


def test_the_purge_erases_what_nobody_can_restore(database: Database, user: User) -> None:
    kept, deleted, old = (make(database, user, title) for title in ("kept", "deleted", "old"))
    for thread in (kept, deleted, old):
        say(database, thread, "words")
    database.write(threads.delete, user.workspace_id, deleted.id)
    database.write(threads.delete, user.workspace_id, old.id)
    age(database, old, 31)

    assert database.write(threads.purge, DAYS) == 1
    assert database.write(threads.purge, DAYS) == 0

    def left(c: Connection) -> tuple[int, int]:
        return len(c.execute(states_table.select()).all()), len(c.execute(messages.select()).all())

    assert database.read(left) == (4, 2)
    assert database.write(threads.restore, user.workspace_id, deleted.id, DAYS).id == deleted.id


def test_the_trash_shows_what_was_deleted_last_first(database: Database, user: User) -> None:
    for number in range(5):
        thread = make(database, user, str(number))
        age(database, thread, 5 - number)
    make(database, user, "not deleted")
    database.write(threads.create, workspace_id=user.workspace_id, user_id=user.id, titles=thread.id)

    assert trash(database, user) == ["4", "3", "2", "1", "0"]
    first = database.read(threads.trash, user.workspace_id, DAYS, limit=3)
    rest = database.read(threads.trash, user.workspace_id, DAYS, limit=3, cursor=first.next)
    assert [thread.title for thread in first.items + rest.items] == trash(database, user)
    assert rest.next is None


def test_what_is_deleted_for_good_is_purged_and_never_restored(database: Database, user: User) -> None:
    one, two, kept = (make(database, user, title) for title in ("one", "two", "kept"))
    with pytest.raises(NotFound):
        database.write(threads.delete_for_good, user.workspace_id, one.id)  # it is not in the trash
    database.write(threads.delete, user.workspace_id, one.id)
    database.write(threads.delete_for_good, user.workspace_id, one.id)
    database.write(threads.delete, user.workspace_id, two.id)
    assert database.write(threads.empty_trash, user.workspace_id) == 1

    assert trash(database, user) == []
    for thread in (one, two):
        for act, more in ((threads.restore, [10_000.0]), (threads.delete_for_good, [])):
            with pytest.raises(NotFound):
                database.write(act, user.workspace_id, thread.id, *more)
    assert database.write(threads.purge, 10_000.0) == 2
    assert titles(database, user) == [kept.title]
