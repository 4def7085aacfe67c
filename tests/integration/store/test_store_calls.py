"""Sub-runs in the database, on both kinds: made once, ended with their parents, given the room of these."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from runtime.errors import CallChanged, CallRefused, NotFound, StaleAttempt
from runtime.model import File, Role, Run, RunError, RunStatus, Thread, User, new_id
from runtime.store import (
    Database,
    attempts,
    backlog,
    calls,
    files,
    outbox,
    pools,
    queued_messages,
    recovery,
    runs,
    states,
    threads,
    usage,
    users,
)

LEASE = 10.0
POOL = "python@here-1"
SPEC = runs.RunSpec("echo", "digest", "python", {}, None, max_attempts=3, timeout_seconds=60)
LIMITS = calls.CallLimits(depth=5, in_all=100)
NOTHING = attempts.AttemptResult()


@pytest.fixture
def user(database: Database) -> User:
    return database.write(users.register, email="ann@example.com", password_hash="x")


@pytest.fixture
def thread(database: Database, user: User) -> Thread:
    return database.write(threads.create, workspace_id=user.workspace_id, user_id=user.id)


@pytest.fixture
def root(database: Database, user: User, thread: Thread) -> Callable[..., Run]:
    """A run that a client has asked for, and that runs."""

    def root(spec: runs.RunSpec = SPEC) -> Run:
        said = [states.NewMessage(Role.USER, "hi")]
        limits = runs.QueueLimits()
        made = database.engine.accept(thread, user.id, thread.root_state_id, said, spec, limits)
        return claim(database, made.runs[0])

    return root


def claim(database: Database, run: Run, lease: float = LEASE) -> Run:
    claimed = database.engine.claim(run.id, POOL, lease, {"": 200})
    assert claimed is not None
    return claimed.run


def call(database: Database, parent: Run, id: str = "a", digest: str = "d", **how: Any) -> Run:
    called = make(database, parent, id, digest, **how)
    assert called is not None
    return called.run


def make(
    database: Database,
    parent: Run,
    id: str = "a",
    digest: str = "d",
    text: str = "do it",
    spec: runs.RunSpec = SPEC,
    limits: calls.CallLimits = LIMITS,
) -> calls.Called | None:
    said = [states.NewMessage(Role.USER, text)] if text else []
    return database.write(calls.create, parent, id, digest, said, spec, limits)


def now_is(database: Database, *made: Run) -> list[RunStatus]:
    found = [database.read(runs.find, run.id) for run in made]
    return [run.status for run in found if run]


def chain(database: Database, top: Run, depth: int) -> list[Run]:
    """A run and its sub-runs, one below the other, that all run."""
    line = [top]
    for _ in range(depth):
        line.append(claim(database, call(database, line[-1])))
    return line


def report(database: Database, slots: int, **limits: int) -> None:
    workers = {worker: {"max_running": limit} for worker, limit in limits.items()}
    database.write(pools.report, "python", POOL, slots, workers)


def test_a_call_names_files_of_its_callers_thread_only(database, root, user, thread):
    parent = root()
    elsewhere = database.write(threads.create, workspace_id=user.workspace_id, user_id=user.id)
    own, kept = (uploaded(database, user, in_thread.id) for in_thread in (thread, elsewhere))

    def hand_on(id: str, file: str) -> calls.Called | None:
        said = [states.NewMessage(Role.USER, "look", files=[{"id": file}])]
        return database.write(calls.create, parent, id, "d", said, SPEC, LIMITS)

    assert hand_on("a", own) is not None
    for file in (kept, new_id()):
        with pytest.raises(NotFound):
            hand_on("b", file)


def uploaded(database: Database, user: User, thread_id: str) -> str:
    """A file that messages of a thread name."""
    file = File(new_id(), user.workspace_id, user.id, "a.txt", "text/plain", 1, "0" * 64)
    database.write(files.begin, file, 0)
    database.write(files.finish, file, lambda: None)
    database.write(files.use, thread_id, [file.id])
    return file.id


def test_a_call_makes_a_run_with_its_messages_on_a_hidden_thread_of_the_workspace(database, root, user):
    parent = root(replace(SPEC, priority=3))

    made = make(database, parent, text="do it")

    run = made.run
    assert (run.parent_run_id, run.call_id, run.root_run_id, run.call_depth) == (parent.id, "a", parent.id, 1)
    assert (run.workspace_id, run.user_id, run.priority) == (user.workspace_id, user.id, 3)
    assert run.thread_id != parent.thread_id
    assert [state.id for state in made.states] == [run.input_state_id, run.output_state_id]
    claimed = database.engine.claim(run.id, POOL, LEASE, {"": 200})
    assert [message.content for message in claimed.messages] == ["do it"]
    with pytest.raises(NotFound):
        database.engine.get_thread(user.workspace_id, run.thread_id)
    assert database.engine.get_run(user.workspace_id, run.id).id == run.id


def test_a_call_without_messages_begins_at_an_empty_thread(database, root):
    run = call(database, root(), text="")

    assert database.engine.claim(run.id, POOL, LEASE, {"": 200}).messages == []


def test_a_later_attempt_finds_the_sub_run_that_was_made(database, root):
    parent = root()
    first = call(database, parent)
    database.write(attempts.hand_back, parent, NOTHING)
    again = claim(database, parent)

    found = make(database, again)

    assert found.run.id == first.id
    assert found.states == ()
    with pytest.raises(StaleAttempt):
        make(database, parent, "b")
    assert call(database, again, "b").id != first.id


def test_a_call_that_asks_for_something_else_than_before_is_refused(database, root):
    parent = root()
    call(database, parent, digest="one")

    with pytest.raises(CallChanged):
        make(database, parent, digest="other")


def test_a_call_is_made_once_however_many_ask_for_it_at_once(database, root):
    parent, ready = root(), threading.Barrier(4)

    def ask() -> str:
        ready.wait()
        return call(database, parent).id

    with ThreadPoolExecutor(4) as executor:
        made = {future.result() for future in [executor.submit(ask) for _ in range(4)]}
    assert len(made) == 1


def test_there_may_be_so_many_below_each_other_and_in_all(database, root):
    limits = calls.CallLimits(depth=2, in_all=3)
    parent = root()
    child = claim(database, call(database, parent, limits=limits))
    grandchild = claim(database, call(database, child, limits=limits))

    with pytest.raises(CallRefused, match="2 deep"):
        make(database, grandchild, limits=limits)
    call(database, child, "b", limits=limits)
    with pytest.raises(CallRefused, match="3 sub-runs"):
        make(database, parent, "b", limits=limits)
    assert call(database, parent, limits=limits).id == child.id, "what is there is found all the same"


def finish(status: RunStatus) -> Callable[[Database, Run], object]:
    return lambda database, run: database.engine.finish(run, status, NOTHING)


def lose(database: Database, run: Run) -> None:
    database.write(recovery.release, POOL)
    for lost in database.read(recovery.expired):
        if lost.id == run.id:
            database.write(recovery.take_over, lost, (), 0, "lost")


def refuse(database: Database, run: Run) -> None:
    database.write(attempts.hand_back, run, NOTHING)
    database.write(attempts.refuse, run.id, RunError("start_failed", "no"))


ENDS: dict[str, Callable[[Database, Run], object]] = {
    "success": finish(RunStatus.SUCCESS),
    "error": finish(RunStatus.ERROR),
    "timeout": finish(RunStatus.TIMEOUT),
    "cancelled": finish(RunStatus.CANCELLED),
    "lost": lose,
    "refused": refuse,
}


@pytest.mark.parametrize("end", ENDS)
def test_however_a_run_ends_what_is_below_ends_with_it(database, root, end):
    parent = root(replace(SPEC, max_attempts=1))
    queued = call(database, parent, "queued")
    asking = claim(database, call(database, parent, "asking"))
    below = call(database, asking)
    database.write(attempts.wait, asking, {"id": "1", "prompt": "?"}, NOTHING)
    running, deeper, deepest = chain(database, parent, 3)[1:]
    done = claim(database, call(database, parent, "done"))
    database.engine.finish(done, RunStatus.SUCCESS, NOTHING)

    ENDS[end](database, parent)

    assert now_is(database, parent)[0].terminal
    assert now_is(database, queued, asking, below) == [RunStatus.CANCELLED] * 3
    assert now_is(database, done) == [RunStatus.SUCCESS]
    for run in (running, deeper, deepest):
        found = database.read(runs.find, run.id)
        assert found.cancel_requested_at is not None
        assert make(database, run, "more") is None
    told = {run.id for run in database.read(calls.below, parent)}
    assert told == {run.id for run in (queued, asking, below, running, deeper, deepest)}


def test_a_run_that_is_asked_to_end_asks_what_is_below_and_calls_no_more(database, root, user):
    line = chain(database, root(), 2)
    waits = call(database, line[1], "b")

    cancelled = database.write(runs.cancel, user.workspace_id, line[0].id)

    assert cancelled.changed
    assert cancelled.run.id == line[0].id
    assert now_is(database, *line, waits) == [RunStatus.RUNNING] * 3 + [RunStatus.CANCELLED]
    assert make(database, line[0], "b") is None
    assert make(database, line[2], "b") is None


def test_what_is_called_while_its_parent_ends_does_not_outlive_it(database, root):
    parent, ready = root(), threading.Barrier(2)

    def race() -> Run | None:
        ready.wait()
        try:
            called = make(database, parent)
        except StaleAttempt:
            return None
        return called and called.run

    with ThreadPoolExecutor(1) as executor:
        made = executor.submit(race)
        ready.wait()
        database.engine.finish(parent, RunStatus.SUCCESS, NOTHING)
        run = made.result()
    assert run is None or now_is(database, run) == [RunStatus.CANCELLED]


def test_a_deleted_thread_takes_those_of_its_sub_runs_along_and_back(database, root, user, thread):
    parent = root()
    run = chain(database, parent, 2)[-1]

    def delete(c: Any) -> None:
        threads.delete(c, user.workspace_id, thread.id)
        runs.cancel_all(c, thread.id)
        threads.delete_called(c, thread.id)

    database.write(delete)
    with pytest.raises(NotFound):
        database.engine.get_run(user.workspace_id, run.id)
    assert [one.id for one in database.read(threads.trash, user.workspace_id, 30).items] == [thread.id]
    database.write(threads.restore, user.workspace_id, thread.id, 30)
    assert database.engine.get_run(user.workspace_id, run.id).cancel_requested_at is not None
    database.write(delete)
    assert database.write(threads.empty_trash, user.workspace_id) == 1
    while database.write(threads.purge, 30):
        pass
    assert database.read(runs.find, run.id) is None


def test_hidden_threads_and_sub_runs_are_in_no_list(database, root, user, thread):
    parent = root()
    run = call(database, parent)

    listed = database.read(threads.listing, user.workspace_id).items
    assert [one.id for one in listed] == [thread.id]
    assert [one.id for one in database.read(runs.listing, user.workspace_id).items] == [parent.id]
    assert [one.id for one in database.read(calls.children, parent.id).items] == [run.id]
    assert database.read(calls.children, run.id).items == []


def test_the_thread_of_a_sub_run_is_neither_changed_nor_deleted_by_itself(database, root, user):
    run = call(database, root())

    with pytest.raises(NotFound):
        database.write(threads.update, user.workspace_id, run.thread_id, title="x")
    with pytest.raises(NotFound):
        database.write(threads.delete, user.workspace_id, run.thread_id)


def test_what_is_below_a_run_has_used_is_added_up(database, root):
    top, child, grandchild = chain(database, root(), 2)
    other = claim(database, call(database, top, "b"))
    for run, used in (
        (grandchild, {"tokens": 1, "model": "a"}),
        (child, {"tokens": 20}),
        (other, {"calls": 3}),
    ):
        used_by = replace(NOTHING, usage=used)
        database.engine.finish(run, RunStatus.SUCCESS, used_by)
    alone = root()

    lines = [database.read(runs.find, run.id) for run in (top, child, grandchild, alone)]

    assert database.read(usage.below, lines) == {
        top.id: {"tokens": 21, "model": "a", "calls": 3},
        child.id: {"tokens": 1, "model": "a"},
    }


def test_children_are_paged(database, root):
    parent = root()
    made = [call(database, parent, str(number)).id for number in range(5)]

    first = database.read(calls.children, parent.id, limit=3)
    second = database.read(calls.children, parent.id, limit=3, cursor=first.next)

    assert [run.id for run in (*first.items, *second.items)] == made[::-1]
    assert second.next is None


def test_a_sub_run_is_taken_past_the_backlog_and_only_once(database, root):
    parent = root()
    made = [call(database, parent, id) for id in "abc"]
    report(database, slots=1)

    assert database.engine.claim_for_publish("python", LEASE) == []
    taken = database.write(calls.take, "python", 2, {})
    assert [ticket.run_id for ticket in taken.tickets] == [run.id for run in made[:2]]
    assert taken.left
    taken = database.write(calls.take, "python", 5, {})
    assert [ticket.run_id for ticket in taken.tickets] == [made[2].id]
    assert not taken.left
    assert database.write(calls.take, "python", 5, {}).tickets == []
    assert database.read(calls.pools_with_waiting) == []


def test_a_sub_run_that_was_taken_and_not_claimed_waits_again(database, root):
    call(database, root())
    database.write(calls.take, "python", 1, {})

    assert database.write(backlog.forget_unclaimed, -1, LEASE) == 1
    assert database.read(calls.pools_with_waiting) == ["python"]


def test_sub_runs_that_wait_keep_no_other_run_from_being_published(database, root, user, thread):
    parent = root()
    call(database, parent)
    report(database, slots=2)

    said = [states.NewMessage(Role.USER, "hi")]
    made = database.engine.accept(thread, user.id, thread.root_state_id, said, SPEC, runs.QueueLimits())

    assert made.published


@pytest.mark.parametrize("limit", ["user", "worker"])
def test_with_a_limit_of_one_a_chain_of_sub_runs_goes_on_and_nothing_else_begins(
    database, root, user, thread, limit
):
    per_user, by_worker = (1, {}) if limit == "user" else (0, {"echo": 1})
    report(database, slots=9, **by_worker)
    top = root()
    said = [states.NewMessage(Role.USER, "hi")]
    database.engine.accept(thread, user.id, thread.root_state_id, said, SPEC, runs.QueueLimits(limited=True))

    parent = top
    for _ in range(3):
        child, _ = call(database, parent), call(database, parent, "second")
        [ticket] = database.write(calls.take, "python", 5, by_worker, per_user).tickets
        assert ticket.run_id == child.id
        none = calls.Taken([], left=True)
        assert database.write(calls.take, "python", 5, by_worker, per_user) == none, "it is about to start"
        parent = claim(database, child)
        assert database.write(calls.take, "python", 5, by_worker, per_user) == none, "it is at work"
        assert database.engine.claim_for_publish("python", LEASE, per_user) == []
    database.engine.finish(parent, RunStatus.SUCCESS, NOTHING)
    assert len(database.write(calls.take, "python", 5, by_worker, per_user).tickets) == 1


def test_the_deepest_sub_run_is_taken_first_and_its_position_says_so(database, root):
    parent = root()
    child = claim(database, call(database, parent))
    shallow, deep = call(database, parent, "b"), call(database, child)
    report(database, slots=1)

    places = [database.read(backlog.explain_wait, run, LEASE).position for run in (shallow, deep)]

    assert places == [2, 1]
    assert [ticket.run_id for ticket in database.write(calls.take, "python", 1, {}).tickets] == [deep.id]


def test_messages_that_are_left_of_a_sub_run_rest(database, root):
    run = claim(database, call(database, root()))
    message = states.NewMessage(Role.USER, "And birds?")
    database.write(queued_messages.add, run.workspace_id, run.id, [message])

    database.engine.finish(run, RunStatus.SUCCESS, NOTHING)

    assert database.read(outbox.counts) == []
    assert [left.content for left in database.read(queued_messages.waiting, run.id)] == ["And birds?"]
