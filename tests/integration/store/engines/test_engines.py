"""The contract of an engine: every way to take a run's steps leaves the same, and never half of it.

It runs over both databases, and over PostgreSQL with the general way in place of each
step that its engine overrides: what a transaction of several steps uses there.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from runtime.errors import Conflict, NotFound, StaleAttempt, StoreUnavailable, TooMany
from runtime.model import Message, MessageStatus, Role, Run, RunStatus, Thread, User, new_id
from runtime.settings import Settings
from runtime.store import Database, attempts, outbox, pools, runs, states, tables, threads, turns
from runtime.store import messages as messages_module
from runtime.store.engines import Engine
from runtime.store.tables import messages as messages_table
from runtime.store.tables import metadata
from runtime.store.tables import runs as runs_table
from tests.support.executed import Executed

SPEC = runs.RunSpec(
    "echo", "digest", "python", {"a": [1]}, None, max_attempts=3, timeout_seconds=1.5, priority=2
)
LIMITS = runs.QueueLimits(per_user=100, per_pool=100)
MESSAGES = [
    states.NewMessage(Role.SYSTEM, "be brief", author="ops"),
    states.NewMessage(Role.USER, "hé 😀 \u2028 \" \\ %s", data={"k": {"é": [None, 1.5]}}),
]  # fmt: skip

ON_POSTGRESQL = pytest.mark.parametrize("database", ["postgresql", "postgresql-general"], indirect=True)


@pytest.fixture
def accept(database: Database, user: User, thread: Thread) -> Callable[..., runs.Created]:
    def accept(
        spec: runs.RunSpec = SPEC,
        messages: Any = MESSAGES,
        limits: runs.QueueLimits = LIMITS,
        parent: str = "",
    ) -> runs.Created:
        start = parent or thread.root_state_id
        return database.engine.accept(thread, user.id, start, messages, spec, limits)

    return accept


def reply(run: Run, text: str) -> Message:
    return Message(
        new_id(),
        run.output_state_id,
        0,
        Role.ASSISTANT,
        text,
        author="echo",
        run_id=run.id,
        attempt=run.attempt,
    )


def claim(database: Database, run_id: str) -> attempts.Claim:
    claimed = database.engine.claim(run_id, "python@here", 10.0, {"": 200})
    assert claimed is not None
    return claimed


def rows(database: Database) -> dict[str, list[dict[str, Any]]]:
    """All that is stored, ids by the order of their making and without times."""

    def read(c: sa.Connection) -> dict[str, list[dict[str, Any]]]:
        names: dict[str, str] = {}
        found = {}
        for table in (metadata.tables[name] for name in ("threads", "states", "messages", "runs")):
            ordered = c.execute(sa.select(table).order_by(table.c.id)).mappings()
            found[table.name] = [
                {key: _plain(key, value, names) for key, value in row.items() if not key.endswith("_at")}
                | {"times": sorted(key for key, value in row.items() if key.endswith("_at") and value)}
                for row in ordered
            ]
        return found

    return database.read(read)


def _plain(key: str, value: Any, names: dict[str, str]) -> Any:
    if value is not None and (key == "id" or key.endswith("_id")) and key != "worker_id":
        return names.setdefault(value, f"id {len(names)}")
    return bool(value) if key == "lease_until" else value


@ON_POSTGRESQL
def test_plans_made_while_the_tables_are_small_serve_when_they_are_large(
    database: Database, accept: Callable[..., runs.Created]
) -> None:
    accept()

    def plan(c: sa.Connection) -> str:
        asked = states.WINDOW["postgresql"].params(states.newest(new_id(), 200)).compile(c.engine)
        return "\n".join(c.exec_driver_sql(f"EXPLAIN {asked}", asked.params).scalars())

    assert "Seq Scan" not in database.read(plan)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_postgresql_takes_the_steps_of_a_run_in_five_statements(
    database: Database, accept: Callable[..., runs.Created], user: User
) -> None:
    database.write(pools.report, "python", "python@here", 4, {})
    accept()
    with Executed(database) as statements:
        [run] = accept().runs
        assert database.engine.get_run(user.workspace_id, run.id) == run
        running = claim(database, run.id).run
        result = attempts.AttemptResult([reply(running, "hi")])
        database.engine.finish(running, RunStatus.SUCCESS, result)
    assert len(statements) == 5


def test_every_engine_leaves_the_same_as_the_general_functions(
    database: Database, accept: Callable[..., runs.Created], thread: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    def live() -> None:
        database.write(pools.report, "python", "python@here", 4, {})
        created = accept(replace(SPEC, count=3))
        first = created.runs[0]
        given = claim(database, first.id)
        assert [(m.role, m.content, m.data) for m in given.messages] == [
            (m.role, m.content, dict(m.data)) for m in MESSAGES
        ]
        assert given.output_state == replace(created.states[0], messages=None)
        result = attempts.AttemptResult([reply(given.run, "hi\n")], first_delta=0.5, usage={"tokens": 2})
        ended = database.engine.finish(given.run, RunStatus.SUCCESS, result)
        assert ended == database.read(runs.find, first.id)
        assert [run.published_at is not None for run in created.runs] == [True] * 3
        below = accept(messages=MESSAGES[1:], parent=first.output_state_id)
        assert below.input_state.depth == created.states[0].depth + 1
        assert [m.content for m in claim(database, below.runs[0].id).messages][2:] == [
            "hi\n",
            MESSAGES[1].content,
        ]
        turn = accept(replace(SPEC, session_id=thread.id, turn=3, window={"size": 5}))
        of_turn = claim(database, turn.runs[0].id).run
        assert of_turn == database.read(runs.find, of_turn.id)
        result = attempts.AttemptResult([reply(of_turn, "hi")], finish="The goal is reached.")
        ended = database.engine.finish(of_turn, RunStatus.SUCCESS, result)
        assert ended == database.read(runs.find, of_turn.id)
        due_now = tables.outbox.update().values(due_at=tables.now(-1))
        database.write(lambda c: c.execute(due_now))
        [task] = database.write(outbox.take, [turns.CHANGED])
        database.write(outbox.done, task)
        noted.append((task.kind, task.key, task.payload) == turns.task(ended))

    noted: list[bool] = []
    live()
    by_engine = rows(database)
    for table in reversed(metadata.sorted_tables):
        if table.name in ("messages", "states", "runs"):
            database.write(lambda c, table=table: c.execute(table.delete().where(_is_below_root(table))))
    for step in ("accept", "claim", "finish"):
        monkeypatch.setattr(type(database.engine), step, getattr(Engine, step))
    live()
    general = rows(database)

    assert noted == [True, True]
    for name in general:
        shown = [_without_counters(row) for row in general[name]]
        assert [_without_counters(row) for row in by_engine[name]] == shown, name


def _is_below_root(table: sa.Table) -> Any:
    return table.c.depth > 0 if table.name == "states" else sa.true()


def _without_counters(row: dict[str, Any]) -> dict[str, Any]:
    """The root has seen both; its counters differ by that alone."""
    return {key: value for key, value in row.items() if key not in ("children", "ordinal", "latest_state_id")}


def test_what_is_accepted_is_what_is_stored(database: Database, accept: Callable[..., runs.Created]) -> None:
    accept()
    created = accept(replace(SPEC, count=2))

    assert created.input_state.ordinal == 1
    for run in created.runs:
        assert database.read(runs.find, run.id) == run
    workspace = created.runs[0].workspace_id
    stored = database.read(states.get, workspace, created.input_state.id)
    assert stored == created.input_state
    for state in created.states:
        assert database.read(states.get, workspace, state.id) == replace(state, messages=())


def test_what_is_refused_changes_nothing(
    database: Database, user: User, thread: Thread, accept: Callable[..., runs.Created]
) -> None:
    other = database.write(threads.create, workspace_id=user.workspace_id, user_id=user.id)
    [under_way] = accept().runs
    before = rows(database)

    with pytest.raises(NotFound):
        accept(parent=other.root_state_id)
    with pytest.raises(NotFound):
        accept(parent=new_id())
    with pytest.raises(Conflict):
        accept(parent=under_way.output_state_id)
    with pytest.raises(TooMany):
        accept(limits=runs.QueueLimits(per_user=1))
    with pytest.raises(TooMany):
        accept(limits=runs.QueueLimits(per_pool=1))
    assert rows(database) == before

    database.write(threads.delete, user.workspace_id, thread.id)
    deleted = rows(database)
    with pytest.raises(NotFound):
        accept()
    assert rows(database) == deleted


def test_who_publishes_what_is_accepted(database: Database, accept: Callable[..., runs.Created]) -> None:
    def publishes(count: int = 1, **limits: Any) -> tuple[bool, bool]:
        created = accept(replace(SPEC, count=count), limits=runs.QueueLimits(**limits))
        assert {run.published_at is not None for run in created.runs} == {created.published}
        return created.published, created.room

    assert publishes() == (False, False), "no pool is there"
    database.write(pools.report, "python", "python@here", 3, {})
    assert publishes() == (False, False), "another one waits"
    assert publishes(limited=True) == (False, True), "those before it may be held"
    assert len(database.engine.claim_for_publish("python", 10.0)) == 3
    assert publishes(limited=True) == (False, False), "there is no room"
    database.write(lambda c: c.execute(runs_table.delete()))
    assert publishes(count=4) == (False, True), "for some of them"
    database.write(lambda c: c.execute(runs_table.delete()))
    assert publishes(count=3) == (True, False)


def test_a_run_without_a_new_message_goes_on_from_its_state(
    accept: Callable[..., runs.Created], thread: Thread
) -> None:
    created = accept(messages=())

    assert (created.input_state.id, created.input_is_new) == (thread.root_state_id, False)
    assert created.states[0].parent_id == thread.root_state_id


def test_a_later_attempt_keeps_the_end_of_an_earlier_one_out(
    database: Database, accept: Callable[..., runs.Created]
) -> None:
    [run] = accept().runs
    given = claim(database, run.id)
    stale = replace(given.run, attempt=0)

    with pytest.raises(StaleAttempt):
        database.engine.finish(stale, RunStatus.SUCCESS, attempts.AttemptResult([reply(given.run, "stale")]))

    found = database.read(runs.find, run.id)
    assert found is not None and found.status is RunStatus.RUNNING
    assert database.read(lambda c: c.execute(sa.select(messages_table.c.content)).scalars().all()) == [
        message.content for message in MESSAGES
    ]


def test_a_run_that_cannot_be_read_is_not_claimed(
    database: Database, accept: Callable[..., runs.Created], monkeypatch: pytest.MonkeyPatch
) -> None:
    [run] = accept().runs
    with monkeypatch.context() as broken:
        for module in (messages_module, states):
            broken.setattr(module, "record", unreadable)
        with pytest.raises(ValueError, match="unreadable"):
            database.engine.claim(run.id, "python@here", 10.0, {"": 200})

    found = database.read(runs.find, run.id)
    assert found is not None and (found.status, found.attempt) == (RunStatus.QUEUED, 0)
    assert claim(database, run.id).run.attempt == 1


def unreadable(row: Any) -> Message:
    raise ValueError("unreadable")


@pytest.mark.parametrize("size", [10, 300_000])
def test_messages_of_any_size_are_saved_over_their_open_text(
    database: Database, accept: Callable[..., runs.Created], size: int
) -> None:
    [run] = accept(messages=[states.NewMessage(Role.USER, "q" * size)]).runs
    given = claim(database, run.id)
    opened = replace(reply(given.run, "a"), status=MessageStatus.PARTIAL)
    database.write(attempts.save_messages, given.run, [opened])
    whole = replace(opened, content="a" * size, status=MessageStatus.COMPLETE)

    database.engine.finish(given.run, RunStatus.SUCCESS, attempts.AttemptResult([whole]))

    said = database.read(states.window, run.output_state_id, 10)
    assert [(m.content, m.status) for m in said] == [
        ("q" * size, MessageStatus.COMPLETE), ("a" * size, MessageStatus.COMPLETE),
    ]  # fmt: skip


def test_requests_at_the_same_moment_get_ordinals_of_their_own(
    database: Database, accept: Callable[..., runs.Created]
) -> None:
    with ThreadPoolExecutor(8) as clients:
        created = list(clients.map(lambda _: accept(), range(24)))

    assert sorted(one.input_state.ordinal for one in created) == list(range(24))


@ON_POSTGRESQL
def test_connections_that_the_server_closed_are_not_used(
    database: Database, accept: Callable[..., runs.Created], postgresql_url: str
) -> None:
    with ThreadPoolExecutor(4) as clients:  # so that several connections are idle
        list(clients.map(lambda _: accept(), range(4)))
    with psycopg.connect(postgresql_url, autocommit=True) as other:
        ended = other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    assert ended

    assert accept().input_state.ordinal == 4


@ON_POSTGRESQL
@pytest.mark.parametrize("way", ["statement", "accept"])
def test_a_connection_that_ends_within_a_transaction_is_unavailable(
    database: Database, thread: Thread, user: User, postgresql_url: str, way: str
) -> None:
    told: list[outbox.Own] = []
    database.carry_out(told.append)

    def end(c: sa.Connection) -> None:
        outbox.put(c, "greet", "ada")
        pid = c.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with psycopg.connect(postgresql_url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        if way == "statement":
            c.exec_driver_sql("SELECT 1")
        database.engine.accept_within(c, thread, user.id, thread.root_state_id, MESSAGES, SPEC, LIMITS)

    with pytest.raises(StoreUnavailable):
        database.write(end)
    assert told == []
    database.write(outbox.put, "greet", "bob")
    assert told == [("greet", "bob", None)]


def test_a_database_that_is_away_is_unavailable(settings: Settings) -> None:
    database = Database("postgresql://127.0.0.1:1/none", settings.database)

    with pytest.raises(StoreUnavailable):
        database.engine.get_run(new_id(), new_id())
    with pytest.raises(StoreUnavailable):
        database.read(runs.find, new_id())
