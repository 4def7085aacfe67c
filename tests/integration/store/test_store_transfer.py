"""Threads out of and into Branchline."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import sqlalchemy as sa

from runtime import transfer
from runtime.errors import Invalid, NotFound
from runtime.model import Channel, MessageStatus, MessageType, Role, RunStatus, Thread, User, new_id
from runtime.store import Connection, Database, states, threads, users
from runtime.store.engines import postgresql_connection
from runtime.store.states import NewMessage
from runtime.store.tables import now, runs
from runtime.store.tables import threads as threads_table
from runtime.transfer import exporter


@pytest.fixture
def branching_thread(database: Database, user: User) -> Thread:
    """A thread with two branches, a label, an ended run and one under way."""
    thread = database.write(
        threads.create, workspace_id=user.workspace_id, user_id=user.id, title="Trees", worker_id="echo",
        config={"piece": "word"}, metadata={"tag": 1},
    )  # fmt: skip
    return database.write(_grow, thread)


def _grow(c: Connection, thread: Thread) -> Thread:
    run_ids = [new_id(), new_id()]
    asked, (one, two) = states.add_turn(
        c,
        thread_id=thread.id,
        parent_id=thread.root_state_id,
        messages=[NewMessage(Role.USER, " Which?\n", author="Ada")],
        run_ids=run_ids,
    )
    for run_id, output, status in ((run_ids[0], one, "success"), (run_ids[1], two, "running")):
        c.execute(
            runs.insert().values(
                id=run_id, thread_id=thread.id, workspace_id=thread.workspace_id, user_id=thread.user_id,
                input_state_id=asked.id, output_state_id=output.id, worker_id="echo", worker_digest="d",
                pool="python", config={"piece": "word"}, args=[1], status=status, attempt=1, max_attempts=3,
                timeout_seconds=5, answers=[], created_at=now(), started_at=now(), usage={"output_tokens": 2},
                finished_at=now() if status == "success" else None,
            )
        )  # fmt: skip
    states.add(
        c,
        thread_id=thread.id,
        parent_id=one.id,
        messages=[
            NewMessage(Role.ASSISTANT, "hm", channel=Channel.REASONING),
            NewMessage(Role.ASSISTANT, "print('``` oak')", MessageType.CODE, data={"language": "python"}),
            NewMessage(Role.TOOL, "", MessageType.FUNCTION, data={"name": "grow", "result": 3}),
            NewMessage(Role.ASSISTANT, "An oa", status=MessageStatus.PARTIAL),
        ],
    )
    states.update(c, thread.workspace_id, asked.id, label="start", starred=True)
    return threads.get(c, thread.workspace_id, thread.id)


def export(database: Database, thread: Thread) -> dict[str, Any]:
    return database.snapshot(transfer.export_thread, thread.workspace_id, thread.id)


def take_in(database: Database, user: User, data: Any) -> Thread:
    about = {"workspace_id": user.workspace_id, "user_id": user.id}
    return database.write(transfer.import_thread, **about, export=transfer.load(data))


def without_ids(data: dict[str, Any]) -> dict[str, Any]:
    """An export whose ids are replaced by their place, so that two can be compared."""
    data = json.loads(json.dumps(data))
    places = {
        part["id"]: f"{kind}{place}" for kind in ("states", "runs") for place, part in enumerate(data[kind])
    }
    text = json.dumps(data)
    for found, place in places.items():
        text = text.replace(found, place)
    plain: dict[str, Any] = json.loads(text)
    for state in plain["states"]:
        for message in state["messages"]:
            message["id"] = None
    plain["thread"]["created_at"] = plain["states"][0]["created_at"] = None
    return plain


def test_an_imported_thread_is_the_exported_one_with_other_ids(
    database: Database, branching_thread: Thread, user: User
) -> None:
    exported = export(database, branching_thread)
    bob = database.write(users.register, email="bob@example.com", password_hash="-")

    imported = take_in(database, bob, json.loads(json.dumps(exported)))

    again = export(database, imported)
    assert (imported.workspace_id, imported.user_id) == (bob.workspace_id, bob.id)
    expected = without_ids(exported)
    cut_short = next(run for run in expected["runs"] if run["status"] == "running")
    found = without_ids(again)
    ended = next(run for run in found["runs"] if run["status"] == "cancelled")
    assert ended.pop("error")["code"] == "cancelled"
    assert ended.pop("finished_at") is not None
    assert ended | {"status": "running", "error": None, "finished_at": None} == cut_short
    found["runs"] = expected["runs"] = []
    assert found == expected
    assert {s["id"] for s in again["states"]}.isdisjoint(s["id"] for s in exported["states"])


def test_a_thread_can_be_imported_twice_and_goes_on(
    database: Database, branching_thread: Thread, user: User
) -> None:
    data = export(database, branching_thread)
    one, two = take_in(database, user, data), take_in(database, user, data)

    assert one.id != two.id
    for thread in (one, two):
        latest = database.read(states.get, user.workspace_id, thread.latest_state_id)
        [added] = database.write(
            states.add,
            thread_id=thread.id,
            parent_id=latest.parent_id,
            messages=[NewMessage(Role.USER, "more")],
        )
        assert (added.depth, added.ordinal) == (latest.depth, latest.ordinal + 1)
        history = database.read(states.history, user.workspace_id, added.id)
        assert history.states[added.id]["previous_id"] == latest.id


def test_a_state_with_many_messages_is_imported_in_small_steps(
    database: Database, branching_thread: Thread, user: User
) -> None:
    data = export(database, branching_thread)
    said = {**data["states"][1]["messages"][0], "id": None}
    data["states"][1]["messages"] = [{**said, "content": f"{number}"} for number in range(1234)]
    rows: list[int] = []
    sa.event.listen(
        database.engine.connections,
        "before_cursor_execute",
        lambda c, cursor, statement, given, context, many: rows.append(len(given) if many else 1),
    )

    imported = take_in(database, user, data)

    assert max(rows) <= 500
    exported = export(database, imported)
    assert [one["content"] for one in exported["states"][1]["messages"]] == [str(n) for n in range(1234)]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_state_with_many_messages_is_exported_in_small_steps(
    database: Database, thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [NewMessage(Role.USER, f"{number}") for number in range(1234)]
    at = {"thread_id": thread.id, "parent_id": thread.root_state_id}
    database.write(states.add, **at, messages=said)
    made = [0]
    wait, part = postgresql_connection.Connection.wait, exporter._message_part

    def waiting(*args: Any, **kwargs: Any) -> Any:
        made.append(0)
        return wait(*args, **kwargs)

    def counted(row: Any) -> Any:
        made[-1] += 1
        return part(row)

    monkeypatch.setattr(postgresql_connection.Connection, "wait", waiting)
    monkeypatch.setattr(exporter, "_message_part", counted)

    exported = export(database, thread)

    assert [one["content"] for one in exported["states"][1]["messages"]] == [one.content for one in said]
    assert (sum(made), max(made)) == (len(said), 500)


def test_the_runs_of_an_import_are_left_alone_by_pools_and_reaper(
    database: Database, branching_thread: Thread, user: User
) -> None:
    imported = take_in(database, user, export(database, branching_thread))

    rows = database.read(lambda c: c.execute(sa.select(runs).where(runs.c.thread_id == imported.id)).all())
    assert len(rows) == 2
    assert all(RunStatus(row.status).terminal and row.announced_at and row.finished_at for row in rows)


def test_the_smallest_export_is_a_root(database: Database, user: User) -> None:
    data = {
        "format": "branchline-thread",
        "version": 1,
        "thread": {},
        "states": [{"id": "r", "parent_id": None, "created_at": "2026-01-31T12:00:00Z"}],
    }

    imported = take_in(database, user, data)

    assert imported.latest_state_id == imported.root_state_id


WRONG: list[tuple[list[str | int], Any, tuple[str | int, ...]]] = [
    (["format"], "zip", ("format",)),
    (["version"], 2, ("version",)),
    (["thread"], None, ("thread",)),
    (["thread", "title"], 5, ("thread", "title")),
    (["thread", "surprise"], 5, ("thread", "surprise")),
    (["thread", "config"], [], ("thread", "config")),
    (["thread", "latest_state_id"], "nowhere", ("thread", "latest_state_id")),
    (["states"], [], ("states",)),
    (["states", 0, "parent_id"], "x", ("states", 0)),
    (["states", 1, "parent_id"], "nowhere", ("states", 1, "parent_id")),
    (["states", 1, "parent_id"], None, ("states", 1, "parent_id")),
    (["states", 1, "run_id"], "nowhere", ("states", 1, "run_id")),
    (["states", 1, "created_at"], "yesterday", ("states", 1, "created_at")),
    (["states", 1, "created_at"], "9999-12-31T23:59:59-12:00", ("states", 1, "created_at")),
    (["runs", 0, "finished_at"], "0001-01-01T00:00:00+12:00", ("runs", 0, "finished_at")),
    (["states", 1, "messages", 0, "role"], "king", ("states", 1, "messages", 0, "role")),
    (["states", 1, "messages", 0, "content"], "a\0b", ("states", 1, "messages", 0, "content")),
    (["states", 1, "messages", 0, "content"], "\ud800", ("states", 1, "messages", 0, "content")),
    (["states", 1, "messages", 0, "data"], {"x": [1, "\0"]}, ("states", 1, "messages", 0, "data", "x", 1)),
    (["states", 1, "messages", 0, "data"], {"\0": 1}, ("states", 1, "messages", 0, "data")),
    (["states", 1, "messages", 0, "data"], {"x": 2**64}, ("states", 1, "messages", 0, "data", "x")),
    (["runs", 0, "status"], "lost", ("runs", 0, "status")),
    (["runs", 0, "input_state_id"], "nowhere", ("runs", 0, "input_state_id")),
    (["runs", 0, "priority"], 2**40, ("runs", 0, "priority")),
    (["runs", 0, "worker_digest"], "x" * 65, ("runs", 0, "worker_digest")),
    (["runs", 0, "error"], {"what": 1}, ("runs", 0, "error", "what")),
]


@pytest.mark.parametrize(("place", "value", "path"), WRONG, ids=lambda part: str(part)[:40])
def test_what_is_wrong_with_an_import_is_named_and_nothing_is_made(
    database: Database,
    branching_thread: Thread,
    user: User,
    place: list[str | int],
    value: Any,
    path: tuple[str | int, ...],
) -> None:
    data = copy.deepcopy(export(database, branching_thread))
    part: Any = data
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value

    with pytest.raises(Invalid) as error:
        take_in(database, user, data)

    assert path in [wrong.path for wrong in error.value.errors]
    assert all(wrong.message for wrong in error.value.errors)
    assert database.read(lambda c: c.execute(sa.select(sa.func.count(threads_table.c.id))).scalar()) == 1


@pytest.mark.parametrize(
    ("time", "kept"),
    [
        ("0001-01-01T00:00:00+00:00", "0001-01-01T00:00:00.000Z"),
        ("0999-06-01T12:00:00+02:00", "0999-06-01T10:00:00.000Z"),
        ("9999-12-31T23:59:59.999+00:00", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_the_ends_of_the_calendar_can_be_read_again(
    database: Database, branching_thread: Thread, user: User, time: str, kept: str
) -> None:
    data = export(database, branching_thread)
    data["states"][1]["created_at"] = data["runs"][0]["finished_at"] = time

    imported = export(database, take_in(database, user, data))

    assert (imported["states"][1]["created_at"], imported["runs"][0]["finished_at"]) == (kept, kept)


@pytest.mark.parametrize("data", [None, [], "x", 5, {}])
def test_what_is_no_export_at_all_is_invalid(database: Database, user: User, data: Any) -> None:
    with pytest.raises(Invalid):
        take_in(database, user, data)


def test_an_id_that_is_used_twice_is_named(database: Database, branching_thread: Thread, user: User) -> None:
    data = export(database, branching_thread)
    data["states"][2]["id"] = data["states"][1]["id"]

    with pytest.raises(Invalid) as error:
        take_in(database, user, data)
    assert ("states", 2, "id") in [wrong.path for wrong in error.value.errors]


def test_a_path_reads_as_markdown(database: Database, branching_thread: Thread) -> None:
    text = database.snapshot(
        transfer.export_path, branching_thread.workspace_id, branching_thread.latest_state_id
    )

    assert text == (
        "# Trees\n\n"
        "## Ada (user)\n\n Which?\n\n\n"
        "## assistant, reasoning\n\nhm\n\n"
        "## assistant\n\n````python\nprint('``` oak')\n````\n\n"
        '## tool\n\n```json\n{\n  "name": "grow",\n  "result": 3\n}\n```\n\n'
        "## assistant\n\nAn oa\n\n*(cut off)*\n"
    )


def test_nobody_exports_what_is_not_theirs(database: Database, branching_thread: Thread) -> None:
    eve = database.write(users.register, email="eve@example.com", password_hash="-")

    with pytest.raises(NotFound):
        database.snapshot(transfer.export_thread, eve.workspace_id, branching_thread.id)
    with pytest.raises(NotFound):
        database.snapshot(transfer.export_path, eve.workspace_id, branching_thread.latest_state_id)
