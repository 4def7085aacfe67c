"""A page of large items has fewer of them than were asked for; the next one goes on where it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runtime.model import Role, Thread, User
from runtime.store import Database, page, runs, states, threads
from runtime.store.states import NewMessage

LARGE = 1000
ITEMS = 7


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page ends with the item by which it has 2,500 bytes, which is the third large one."""
    monkeypatch.setattr(page, "PAGE_BYTES", 2500)


def pages(read: Callable[..., Any], limit: int = 100) -> list[list[Any]]:
    """All pages of a list."""
    found, cursor = [], None
    while True:
        part = read(limit=limit, cursor=cursor)
        found.append(part.items)
        cursor = part.next
        if cursor is None:
            return found


def numbered(number: int, text: str = "\N{GREEK SMALL LETTER ALPHA}") -> str:
    """A text of so many bytes, though it could be stored in a few."""
    return f"{number}".ljust(LARGE // len(text.encode()), text)


def add(database: Database, thread: Thread, parent: str, new: list[NewMessage]) -> str:
    """The id of a new state with these messages."""
    return database.write(states.add, thread_id=thread.id, parent_id=parent, messages=new)[0].id


@pytest.mark.parametrize("in_data", [False, True])
def test_a_history_of_large_messages(database: Database, user: User, thread: Thread, in_data: bool) -> None:
    parent = thread.root_state_id
    for number in range(ITEMS):
        text = numbered(number)
        new = NewMessage(Role.USER, "" if in_data else text, data={"text": text} if in_data else {})
        parent = add(database, thread, parent, [new])

    def read(**how: Any) -> Any:
        return database.read(states.history, user.workspace_id, parent, **how)

    found = pages(read)
    assert [len(part) for part in found] == [3, 3, 1]
    texts = [message.data["text"] if in_data else message.content for part in found[::-1] for message in part]
    assert texts == [numbered(number) for number in range(ITEMS)]
    assert [len(part) for part in pages(read, limit=2)] == [2, 2, 2, 1]


def test_a_message_larger_than_a_page_is_a_page(database: Database, user: User, thread: Thread) -> None:
    huge = [NewMessage(Role.USER, "x" * 9000), NewMessage(Role.USER, "y" * 9000)]
    state = add(database, thread, thread.root_state_id, huge)

    found = pages(lambda **how: database.read(states.history, user.workspace_id, state, **how))
    assert [[message.content[0] for message in part] for part in found] == [["y"], ["x"]]


def test_a_list_of_threads_with_large_metadata(database: Database, user: User) -> None:
    for number in range(ITEMS):
        database.write(
            threads.create,
            workspace_id=user.workspace_id,
            user_id=user.id,
            title=f"{number}",
            metadata={"text": numbered(number)},
        )

    found = pages(lambda **how: database.read(threads.listing, user.workspace_id, **how))
    assert [len(part) for part in found] == [3, 3, 1]
    shown = {thread.title: thread.metadata["text"] for part in found for thread in part}
    assert shown == {f"{number}": numbered(number) for number in range(ITEMS)}


@pytest.mark.parametrize("in_message", [False, True], ids=["arguments", "message"])
def test_a_list_of_runs_with_large_arguments(
    database: Database, user: User, thread: Thread, in_message: bool
) -> None:
    limits = runs.QueueLimits(per_user=100, per_pool=100)
    for number in range(ITEMS):
        large = {"text": numbered(number)}
        args, message = (None, large) if in_message else (large, None)
        spec = runs.RunSpec(
            "echo", "", "python", {}, args, max_attempts=1, timeout_seconds=1, message=message
        )
        database.engine.accept(thread, user.id, thread.root_state_id, [], spec, limits)

    found = pages(lambda **how: database.read(runs.listing, user.workspace_id, **how))
    assert [len(part) for part in found] == [3, 3, 1]
    texts = [((run.message if in_message else run.args) or {})["text"] for part in found for run in part]
    assert sorted(texts) == [numbered(number) for number in range(ITEMS)]
