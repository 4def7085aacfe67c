"""The tree of a thread: branches, history in windows, and what they cost."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from runtime.errors import Conflict, Invalid, NotFound
from runtime.model import MessageStatus, MessageType, Role, RunStatus, State, Thread, User, new_id
from runtime.store import Database, states, threads, users
from runtime.store.states import NewMessage
from runtime.store.tables import messages, now, runs

DEEP = 2_000


def said(text: str, role: Role = Role.USER) -> list[NewMessage]:
    return [NewMessage(role, text)]


@pytest.fixture
def tree(database: Database, thread: Thread) -> Tree:
    return Tree(database, thread)


class Tree:
    """A thread, and a short way to grow it."""

    def __init__(self, database: Database, thread: Thread) -> None:
        self.database = database
        self.thread = thread

    def add(self, parent_id: str, *texts: str) -> State:
        new = [NewMessage(Role.USER, text) for text in texts]
        [state] = self.database.write(states.add, thread_id=self.thread.id, parent_id=parent_id, messages=new)
        return state

    def history(self, state_id: str, **page: Any) -> states.History:
        return self.database.read(states.history, self.thread.workspace_id, state_id, **page)

    def texts(self, state_id: str, **page: Any) -> list[str]:
        return [message.content for message in self.history(state_id, **page).items]

    def deepen(self, depth: int) -> State:
        """``depth`` states below each other, all at once."""
        grown = [self.add(self.thread.root_state_id, "0")]
        for number in range(1, depth):
            above = grown[-1]
            state_id = new_id()
            text = states._message(state_id, 0, said(str(number))[0], None, above.created_at)
            grown.append(
                State(state_id, above.thread_id, above.id, above.depth + 1, 0, 1, None, None, False,
                      above.created_at, (text,))
            )  # fmt: skip
        self.database.write(states.insert, grown[1:])
        return grown[-1]

    def run_on(self, state_id: str, status: RunStatus) -> State:
        """An output state whose run has that status."""
        run_id = new_id()
        [output] = self.database.write(
            states.add, thread_id=self.thread.id, parent_id=state_id, run_ids=[run_id]
        )
        self.database.write(_insert_run, self.thread, run_id, state_id, output.id, status)
        return output


def _insert_run(
    c: sa.Connection, thread: Thread, run_id: str, input_id: str, output_id: str, status: RunStatus
) -> None:
    c.execute(
        runs.insert().values(
            id=run_id,
            thread_id=thread.id,
            workspace_id=thread.workspace_id,
            user_id=thread.user_id,
            input_state_id=input_id,
            output_state_id=output_id,
            worker_id="echo",
            worker_digest="",
            pool="python",
            config={},
            status=status,
            max_attempts=1,
            timeout_seconds=1,
            answers=[],
            created_at=now(),
            finished_at=now() if status.terminal else None,
        )
    )


# ── growing ─────────────────────────────────────────────────────────────────


def test_a_new_thread_has_an_empty_root(database: Database, thread: Thread) -> None:
    root = database.read(states.get, thread.workspace_id, thread.root_state_id)

    assert (root.parent_id, root.depth, root.ordinal, root.children) == (None, 0, 0, 0)
    assert root.messages == ()
    assert thread.latest_state_id == root.id


def test_a_state_is_stored_as_it_is_returned(database: Database, tree: Tree) -> None:
    new = [
        NewMessage(Role.USER, "  look:\n\u2028 \U0001f333", author="Ada"),
        NewMessage(Role.USER, "", MessageType.IMAGE, data={"file": "tree.png"}, status=MessageStatus.PARTIAL),
    ]

    [state] = database.write(
        states.add, thread_id=tree.thread.id, parent_id=tree.thread.root_state_id, messages=new
    )

    assert database.read(states.get, tree.thread.workspace_id, state.id) == state
    assert [message.position for message in state.messages or ()] == [0, 1]


def test_an_edit_is_a_sibling_and_changes_nothing_that_was_there(tree: Tree) -> None:
    first = tree.add(tree.thread.root_state_id, "one")
    second = tree.add(tree.thread.root_state_id, "two")

    assert (first.ordinal, second.ordinal) == (0, 1)
    assert first.depth == second.depth == 1
    assert tree.texts(first.id) == ["one"]
    assert tree.texts(second.id) == ["two"]


def test_runs_side_by_side_get_states_side_by_side(database: Database, tree: Tree) -> None:
    run_ids = [new_id() for _ in range(5)]

    outputs = database.write(
        states.add, thread_id=tree.thread.id, parent_id=tree.thread.root_state_id, run_ids=run_ids
    )

    assert [output.run_id for output in outputs] == run_ids
    assert [output.ordinal for output in outputs] == [0, 1, 2, 3, 4]
    root = database.read(states.get, tree.thread.workspace_id, tree.thread.root_state_id)
    assert root.children == 5


def test_a_turn_is_an_input_with_its_outputs_below(database: Database, tree: Tree) -> None:
    run_ids = [new_id(), new_id()]
    turn = {"thread_id": tree.thread.id, "messages": said("both of you"), "run_ids": run_ids}

    asked, outputs = database.write(states.add_turn, parent_id=tree.thread.root_state_id, **turn)

    assert database.read(states.get, tree.thread.workspace_id, asked.id) == asked
    for place, output in enumerate(outputs):
        assert database.read(states.get, tree.thread.workspace_id, output.id) == output
        assert (output.parent_id, output.depth, output.ordinal) == (asked.id, 2, place)
        assert output.run_id == run_ids[place]
    assert asked.children == 2
    thread = database.engine.get_thread(tree.thread.workspace_id, tree.thread.id)
    assert thread.latest_state_id == outputs[-1].id


def test_siblings_that_are_added_at_the_same_moment_get_different_places(tree: Tree) -> None:
    root_id = tree.thread.root_state_id
    with ThreadPoolExecutor(8) as at_once:
        added = list(at_once.map(lambda number: tree.add(root_id, str(number)), range(40)))

    assert sorted(state.ordinal for state in added) == list(range(40))


def test_the_thread_knows_its_latest_state(database: Database, tree: Tree) -> None:
    state = tree.add(tree.thread.root_state_id, "new")

    thread = database.engine.get_thread(tree.thread.workspace_id, tree.thread.id)
    assert thread.latest_state_id == state.id
    assert thread.updated_at >= tree.thread.updated_at


def test_a_state_of_another_thread_is_no_parent(database: Database, tree: Tree, user: User) -> None:
    other = database.write(threads.create, workspace_id=user.workspace_id, user_id=user.id)

    with pytest.raises(NotFound):
        tree.add(other.root_state_id, "strayed")
    assert database.read(states.get, user.workspace_id, other.root_state_id).children == 0


@pytest.mark.parametrize("status", [RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.WAITING])
def test_a_state_whose_run_has_not_ended_is_no_parent(tree: Tree, status: RunStatus) -> None:
    output = tree.run_on(tree.thread.root_state_id, status)

    with pytest.raises(Conflict):
        tree.add(output.id, "too early")


def test_a_state_whose_run_has_ended_is_a_parent(tree: Tree) -> None:
    output = tree.run_on(tree.thread.root_state_id, RunStatus.ERROR)

    assert tree.add(output.id, "and then?").depth == 2


def test_nothing_grows_in_a_deleted_thread(database: Database, tree: Tree) -> None:
    database.write(threads.delete, tree.thread.workspace_id, tree.thread.id)

    with pytest.raises(NotFound):
        tree.add(tree.thread.root_state_id, "too late")


def test_states_are_labelled_and_starred_one_by_one(database: Database, tree: Tree) -> None:
    state = tree.add(tree.thread.root_state_id, "good")
    workspace_id = tree.thread.workspace_id

    database.write(states.update, workspace_id, state.id, label="the good one")
    marked = database.write(states.update, workspace_id, state.id, starred=True)

    assert (marked.label, marked.starred) == ("the good one", True)
    assert database.write(states.update, workspace_id, state.id, label=None).label is None


def test_nobody_reaches_a_state_of_another_workspace(database: Database, tree: Tree) -> None:
    state = tree.add(tree.thread.root_state_id, "mine")
    eve = database.write(users.register, email="eve@example.com", password_hash="-")
    theirs = database.write(threads.create, workspace_id=eve.workspace_id, user_id=eve.id)
    stolen = states.encode_cursor(state.id, 5)

    with pytest.raises(NotFound):
        database.read(states.get, eve.workspace_id, state.id)
    with pytest.raises(NotFound):
        database.write(states.update, eve.workspace_id, state.id, label="hers")
    with pytest.raises(NotFound):
        database.read(states.history, eve.workspace_id, state.id)
    with pytest.raises(NotFound):
        database.read(states.history, eve.workspace_id, theirs.root_state_id, cursor=stolen)
    with pytest.raises(NotFound):
        database.read(states.tree, eve.workspace_id, tree.thread.id)
    with pytest.raises(NotFound):
        database.read(states.structure, eve.workspace_id, tree.thread.id)
    assert database.read(states.get, tree.thread.workspace_id, state.id).label is None


# ── history ─────────────────────────────────────────────────────────────────


def test_history_leads_from_the_root_to_the_state(tree: Tree) -> None:
    first = tree.add(tree.thread.root_state_id, "a", "b")
    second = tree.add(first.id, "c")
    tree.add(first.id, "elsewhere")

    history = tree.history(second.id)

    assert [message.content for message in history.items] == ["a", "b", "c"]
    assert history.next is None
    assert history.states[second.id] == {
        "ordinal": 0,
        "sibling_count": 2,
        "previous_id": None,
        "next_id": next(iter(_siblings(tree, second.id))),
    }
    assert history.states[first.id]["sibling_count"] == 1
    assert history.states[tree.thread.root_state_id]["sibling_count"] == 1


def _siblings(tree: Tree, state_id: str) -> Iterator[str]:
    page = tree.database.read(states.tree, tree.thread.workspace_id, tree.thread.id)
    parents = {node["id"]: node["parent_id"] for node in page.items}
    return (other for other in parents if parents[other] == parents[state_id] and other != state_id)


def test_the_neighbours_of_a_state_are_those_added_before_and_after_it(tree: Tree) -> None:
    one, two, three = (tree.add(tree.thread.root_state_id, text) for text in "abc")

    assert tree.history(two.id).states[two.id] == {
        "ordinal": 1,
        "sibling_count": 3,
        "previous_id": one.id,
        "next_id": three.id,
    }
    assert tree.history(three.id).states[three.id]["next_id"] is None


def test_a_state_without_messages_is_in_the_window_too(tree: Tree) -> None:
    asked = tree.add(tree.thread.root_state_id, "question")
    output = tree.run_on(asked.id, RunStatus.RUNNING)

    history = tree.history(output.id)

    assert [message.content for message in history.items] == ["question"]
    assert output.id in history.states


def test_a_window_that_ends_at_the_root_has_no_next(tree: Tree) -> None:
    state = tree.add(tree.thread.root_state_id, "a", "b", "c")

    assert tree.history(state.id, limit=3).next is None
    assert tree.history(state.id, limit=2).next is not None


@pytest.mark.parametrize("seed", range(4))
def test_windows_put_together_are_the_whole_path(tree: Tree, seed: int) -> None:
    chance = random.Random(seed)
    paths = {tree.thread.root_state_id: list[str]()}
    for number in range(40):
        parent_id = chance.choice(list(paths))
        texts = [f"{number}.{place}" for place in range(chance.choice([0, 1, 1, 2, 7]))]
        paths[tree.add(parent_id, *texts).id] = paths[parent_id] + texts

    for state_id, expected in paths.items():
        limit = chance.randint(1, 9)
        found: list[str] = []
        page = tree.history(state_id, limit=limit)
        while True:
            assert len(page.items) <= limit
            assert {message.state_id for message in page.items} <= set(page.states)
            found[:0] = [message.content for message in page.items]
            if page.next is None:
                break
            assert len(page.items) == limit
            page = tree.history(state_id, limit=limit, cursor=page.next)
        assert found == expected
        window = tree.database.read(states.window, state_id, limit)
        assert [message.content for message in window] == expected[-limit:]


def test_what_a_lost_attempt_wrote_is_not_history(database: Database, tree: Tree) -> None:
    state = tree.add(tree.thread.root_state_id, "void", "kept")
    lost = (state.messages or ())[0].id
    database.write(lambda c: c.execute(messages.update().where(messages.c.id == lost).values(void=True)))

    assert tree.texts(state.id) == ["kept"]
    assert [m.content for m in database.read(states.window, state.id, 10)] == ["kept"]
    found = database.read(states.get, tree.thread.workspace_id, state.id)
    assert [m.content for m in found.messages or ()] == ["kept"]
    [_, node] = database.read(states.tree, tree.thread.workspace_id, tree.thread.id).items
    assert node["preview"] == "kept"


def test_a_window_crosses_many_states_without_messages_in_steps(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.add(tree.thread.root_state_id, "far up")
    state = tree.add(tree.thread.root_state_id, "up")
    for _ in range(6):
        state = tree.add(state.id)
    monkeypatch.setattr(states, "LONGEST_WALK", 3)
    monkeypatch.setattr(
        states, "HISTORY", {name: states.history_on(name) for name in ("postgresql", "sqlite")}
    )
    monkeypatch.setattr(states, "_PATH", states._path())

    page = tree.history(state.id)
    assert (page.items, len(page.states)) == ([], 3)
    steps = 1
    while page.next:
        page = tree.history(state.id, cursor=page.next)
        steps += 1
    assert [message.content for message in page.items] == ["up"]
    assert steps == 3


@pytest.mark.parametrize("cursor", ["", "x", "W10", "e30", "WyJ4IiwxXQ", "\u2028", "bnVsbA=="])
def test_a_cursor_that_is_none_of_ours_is_invalid(tree: Tree, cursor: str) -> None:
    if not cursor:
        assert tree.history(tree.thread.root_state_id, cursor=cursor).items == []
        return
    with pytest.raises(Invalid):
        tree.history(tree.thread.root_state_id, cursor=cursor)
    with pytest.raises(Invalid):
        tree.database.read(states.tree, tree.thread.workspace_id, tree.thread.id, cursor=cursor)


# ── the picture of the tree ─────────────────────────────────────────────────


def test_the_tree_shows_each_state_with_its_first_words(tree: Tree) -> None:
    asked = tree.add(tree.thread.root_state_id, "", "x" * 200)
    output = tree.run_on(asked.id, RunStatus.RUNNING)

    root, first, second = tree.database.read(states.tree, tree.thread.workspace_id, tree.thread.id).items

    assert (root["id"], root["preview"], root["author"]) == (tree.thread.root_state_id, "", None)
    assert (first["preview"], first["author"], first["children"]) == ("x" * 80, "user", 1)
    assert (second["id"], second["parent_id"]) == (output.id, asked.id)
    assert (second["run_status"], second["worker_id"]) == ("running", "echo")


def test_pages_of_the_tree_put_together_are_the_whole_tree(tree: Tree) -> None:
    made = {tree.thread.root_state_id, *(tree.add(tree.thread.root_state_id, "x").id for _ in range(10))}
    found: list[str] = []
    cursor = None
    while True:
        page = tree.database.read(
            states.tree, tree.thread.workspace_id, tree.thread.id, limit=4, cursor=cursor
        )
        found += [node["id"] for node in page.items]
        if (cursor := page.next) is None:
            break

    assert (len(found), set(found)) == (11, made)


def test_the_structure_is_ids_and_the_places_of_their_parents(tree: Tree) -> None:
    one = tree.add(tree.thread.root_state_id, "1")
    two = tree.add(one.id, "2")
    three = tree.add(one.id, "3")

    shape = tree.database.read(states.structure, tree.thread.workspace_id, tree.thread.id)

    parent = {
        state_id: shape["ids"][place] if place >= 0 else None
        for state_id, place in zip(shape["ids"], shape["parents"], strict=True)
    }
    assert parent == {
        tree.thread.root_state_id: None,
        one.id: tree.thread.root_state_id,
        two.id: one.id,
        three.id: one.id,
    }


# ── cost ────────────────────────────────────────────────────────────────────


def test_a_turn_takes_four_statements(tree: Tree) -> None:
    with Statements(tree.database) as statements:
        tree.add(tree.thread.root_state_id, "a", "b")
    assert len(statements) == 4

    turn = {"thread_id": tree.thread.id, "messages": said("x"), "run_ids": [new_id(), new_id()]}
    with Statements(tree.database) as statements:
        tree.database.write(states.add_turn, parent_id=tree.thread.root_state_id, **turn)
    assert len(statements) == 4


def test_history_takes_two_statements_and_a_window_one(tree: Tree) -> None:
    with Statements(tree.database) as statements:
        tree.history(tree.thread.root_state_id)
    assert len(statements) == 2

    with Statements(tree.database) as statements:
        tree.database.read(states.window, tree.thread.root_state_id, 10)
    assert len(statements) == 1


def test_nothing_is_searched_through_however_deep_the_tree(tree: Tree) -> None:
    state = tree.deepen(DEEP)
    start = {"start": state.id, "before": 2**31 - 1, "count": 50}
    path = {"workspace": tree.thread.workspace_id, "state": state.id, "start": state.id, "floor": DEEP - 50}
    branch = {"parent": state.id, "thread": tree.thread.id, "count": 1}

    for statement, values in (
        (states.WINDOW[tree.database.engine.name], start),
        (states.HISTORY[tree.database.engine.name], start),
        (states._PATH, path),
        (states._BRANCH, branch),
    ):
        plan = tree.database.write(_plan, statement, values)
        assert not re.search(r"(SCAN|Seq Scan on) (states|messages)", plan), plan
    assert tree.texts(state.id, limit=3) == ["1997", "1998", "1999"]


def _plan(c: sa.Connection, statement: Any, values: dict[str, Any]) -> str:
    compiled = statement.compile(dialect=c.dialect, compile_kwargs={"render_postcompile": True})
    bound = {
        name: (compiled._bind_processors.get(name) or (lambda value: value))(value)
        for name, value in compiled.construct_params(values).items()
    }
    if c.dialect.name == "sqlite":
        rows = c.exec_driver_sql(
            f"EXPLAIN QUERY PLAN {compiled}", tuple(bound[name] for name in compiled.positiontup)
        )
        return "\n".join(row[3] for row in rows)
    # A table as small as a test's is read whole, unless that is forbidden.
    c.exec_driver_sql("SET LOCAL enable_seqscan = off")
    return "\n".join(row[0] for row in c.exec_driver_sql(f"EXPLAIN {compiled}", bound))


class Statements(list[str]):
    """The statements that are executed while the ``with`` lasts."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._engine = database.engine.connections

    def __enter__(self) -> Statements:
        event.listen(self._engine, "before_cursor_execute", self._note)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._note)

    def _note(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            self.append(statement)
