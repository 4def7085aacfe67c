"""The backlog in the database, on both kinds: whose turn it is, what limits hold, what is cancelled."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from runtime import model
from runtime.dispatch import encode_wait
from runtime.errors import NotFound, StaleAttempt
from runtime.model import Role, Run, RunError, RunStatus, Thread, User
from runtime.store import (
    Database,
    attempts,
    backlog,
    pools,
    recovery,
    runs,
    states,
    threads,
    users,
)
from runtime.store import backlog as backlog_module
from runtime.store.engines import postgresql_connection
from runtime.store.tables import now
from runtime.store.tables import runs as table
from runtime.testing.waiting import until

LEASE = 10.0
POOL = "python@here-1"
ORDER = runs.RunSpec("echo", "digest", "python", {}, None, max_attempts=3, timeout_seconds=60)
FAILED = RunError("worker_error", "Busy.", retryable=True)
LIMITED = runs.QueueLimits(limited=True)


@pytest.fixture
def people(database: Database) -> list[tuple[User, Thread]]:
    """Three users, each with a thread."""

    def make(c: Any) -> list[tuple[User, Thread]]:
        made = [users.register(c, email=f"{name}@example.com", password_hash="-") for name in "abc"]
        return [(u, threads.create(c, workspace_id=u.workspace_id, user_id=u.id)) for u in made]

    return database.write(make)


@pytest.fixture
def ask(database: Database, people: list[tuple[User, Thread]]) -> Callable[..., list[Run]]:
    def ask(who: int, count: int = 1, bounds: runs.QueueLimits = LIMITED, **order: Any) -> list[Run]:
        user, thread = people[who]
        said = [states.NewMessage(Role.USER, "hi")]
        wanted = replace(ORDER, count=count, **order)
        accepted = database.engine.accept(thread, user.id, thread.root_state_id, said, wanted, bounds)
        return accepted.runs

    return ask


@pytest.fixture(params=["few users", "many users"])
def crowd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of looking at those who wait."""
    if request.param == "many users":
        monkeypatch.setattr(backlog_module, "_FEW", 0)


def pool(database: Database, slots: int, name: str = "python", **limits: int) -> None:
    report = {"echo": {}} | {worker: {"max_running": limit} for worker, limit in limits.items()}
    database.write(pools.report, name, f"{name}@here-1", slots, report)


def clock(database: Database) -> Any:
    """The database's clock."""
    return database.read(lambda c: c.execute(sa.select(now())).scalar_one())


def positions(database: Database, run_ids: list[str]) -> list[int]:
    """Where these queued runs stand in their pool's queue."""
    found = [database.read(runs.find, run_id) for run_id in run_ids]
    return [database.read(backlog.explain_wait, run, LEASE).position for run in found]


def publish_next(database: Database, per_user: int = 0, name: str = "python") -> list[str]:
    return [ticket.run_id for ticket in database.engine.claim_for_publish(name, LEASE, per_user)]


def claim(database: Database, run_id: str) -> Run:
    claimed = database.engine.claim(run_id, POOL, LEASE, {"": 200})
    assert claimed is not None
    return claimed.run


def end(database: Database, run: Run) -> Run:
    return database.engine.finish(run, RunStatus.SUCCESS, attempts.AttemptResult())


def explain(database: Database, run: Run, per_user: int = 0) -> tuple[int, str]:
    found = database.read(runs.find, run.id)
    assert found is not None
    queue = database.read(backlog.explain_wait, found, LEASE, per_user)
    assert queue is not None
    encoded = encode_wait(queue)
    assert encoded is not None and encoded["message"]
    return encoded["position"], encoded["reason"]


def test_a_run_waits_for_a_process_that_has_its_worker(database, ask):
    [run] = ask(0, 1, worker_id="newcomer")
    pool(database, 2)
    assert explain(database, run) == (1, "worker_not_seen")
    assert publish_next(database) == [run.id]
    [known] = ask(0)

    known_here = {"only_known": True, "sandboxes": '{"echo": null}'}
    assert database.engine.claim(run.id, POOL, LEASE, {"": 200}, **known_here) is None
    assert database.read(attempts.due_worker, run.id)[0] == "newcomer"
    database.write(backlog.unpublish, [run.id], 60.0)
    assert explain(database, run)[1] == "worker_not_seen"
    assert database.engine.claim(known.id, POOL, LEASE, {"": 200}, **known_here).run.sandbox is None

    database.write(backlog.release_held_back, "python", ["newcomer"])
    pool(database, 2, newcomer=9)
    assert publish_next(database) == [run.id]
    here = {"only_known": True, "sandboxes": '{"newcomer": {"level": "standard"}}'}
    claimed = database.engine.claim(run.id, POOL, LEASE, {"": 200}, **here)
    assert claimed.run.sandbox == {"level": "standard"}


def test_a_worker_that_appears_ends_no_backoff_of_a_failed_run(database, ask):
    [run] = ask(0)
    pool(database, 2)
    publish_next(database)
    failed = claim(database, run.id)
    database.write(attempts.retry, failed, 60.0, FAILED, attempts.AttemptResult())
    database.write(backlog.release_held_back, "python", ["echo"])
    assert explain(database, failed)[1] == "backoff"


def test_users_take_turns_and_each_ones_turn_goes_to_their_most_urgent_run(database, ask, crowd):
    many, urgent = ask(0, 6), ask(0, 1, priority=5)
    [second], third = ask(1), ask(2, 2, priority=-5)
    pool(database, 8)

    expected = [urgent[0], second, third[0], many[0], third[1], *many[1:4]]
    assert publish_next(database) == [run.id for run in expected]


def test_the_oldest_run_goes_first_whatever_the_clocks_of_those_who_accepted_them(
    database, ask, crowd, monkeypatch
):
    asked = []
    for ahead in (50, -50, 5, 0, -5):
        skewed = time.time_ns() + ahead * 10**9
        monkeypatch.setattr(model, "time", SimpleNamespace(time_ns=lambda skewed=skewed: skewed))
        asked += [run.id for run in ask(0)]
        before = clock(database)
        until(lambda before=before: clock(database) > before, what="the database's next millisecond")
    monkeypatch.undo()

    assert positions(database, asked) == [1, 2, 3, 4, 5]
    pool(database, slots=5)
    assert publish_next(database) == asked


def test_who_has_runs_under_way_goes_behind_who_has_none(database, ask, crowd):
    pool(database, 4)
    busy = ask(0, 8)
    first = publish_next(database)
    late = ask(1, 3)

    for run_id in first[:2]:
        claim(database, run_id)
    assert publish_next(database) == [late[0].id, late[1].id]
    for run_id in first[2:]:
        claim(database, run_id)
    assert publish_next(database) == [late[2].id, busy[4].id]


def test_processes_that_look_at_the_same_moment_publish_no_more_than_there_are_slots(database, ask):
    ask(0, 16)
    ask(1, 16)
    pool(database, 5)

    with ThreadPoolExecutor(6) as processes:
        batches = list(processes.map(lambda _: publish_next(database), range(6)))

    assert len({run_id for one in batches for run_id in one}) == sum(map(len, batches)) == 5


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_process_that_is_stopped_while_it_publishes_keeps_nobody_else_from_it(database, ask, monkeypatch):
    pool(database, slots=1)
    ask(0)
    monkeypatch.setattr(postgresql_connection, "_IDLE", 0.5)
    with closing(postgresql_connection.Connector(database.address, 10).connect()) as stopped:
        stopped.execute("BEGIN")
        stopped.execute("SELECT pg_advisory_xact_lock(%s)", [backlog_module._LOCK])
        assert len(database.engine.claim_for_publish("python", LEASE)) == 1


def test_a_user_has_no_more_under_way_than_the_limit_in_all_pools(database, ask, crowd):
    pool(database, 8)
    pool(database, 8, "exec")
    here, there, other = ask(0, 3), ask(0, 2, pool="exec"), ask(1, 1)

    published = publish_next(database, 2)
    assert published == [here[0].id, other[0].id, here[1].id]
    assert publish_next(database, 2, "exec") == []
    end(database, claim(database, published[0]))
    assert publish_next(database, 2, "exec") == [there[0].id]
    assert publish_next(database, 2) == []


def test_a_worker_has_no_more_under_way_than_its_limit_and_blocks_nobody(database, ask, crowd):
    pool(database, 8, narrow=2)
    narrow, echo = ask(0, 4, worker_id="narrow", priority=9), ask(0, 1)
    other = ask(1, 1, worker_id="narrow")

    published = publish_next(database)
    assert sorted(published) == sorted([narrow[0].id, other[0].id, echo[0].id])
    assert publish_next(database) == []
    end(database, claim(database, narrow[0].id))
    assert publish_next(database) == [narrow[1].id]


def test_a_run_that_a_limit_holds_does_not_use_up_what_its_user_may_run(database, ask, crowd):
    pool(database, 8, narrow=1)
    narrow, echo = ask(0, 3, worker_id="narrow", priority=9), ask(0, 2)

    assert sorted(publish_next(database, 3)) == sorted([narrow[0].id, echo[0].id, echo[1].id])


def test_a_late_message_starts_no_run_that_is_not_counted(database, ask):
    pool(database, 1)
    [run] = ask(0)

    def late() -> Any:
        return database.engine.claim(run.id, POOL, LEASE, {"": 200}, only_published=True)

    assert late() is None
    assert publish_next(database, 1) == [run.id]
    assert late() is not None


def test_a_queued_run_says_why(database, ask, people):
    first, second = ask(0, 2)
    assert explain(database, second) == (2, "pool_not_seen")
    pool(database, 2, narrow=1)
    narrow = ask(0, 2, worker_id="narrow")
    [other] = ask(1)

    assert [explain(database, run)[0] for run in (first, other, second, *narrow)] == [1, 2, 3, 4, 5]
    assert explain(database, first) == (1, "starting")
    publish_next(database)
    running = claim(database, first.id)
    assert explain(database, other) == (1, "starting")
    claim(database, other.id)
    assert explain(database, second) == (1, "ahead")
    assert explain(database, second, per_user=1) == (1, "user_limit")
    publish_next(database)
    end(database, running)
    claim(database, second.id)
    assert explain(database, narrow[0]) == (1, "ahead")
    claim(database, narrow[0].id)
    assert explain(database, narrow[1]) == (1, "worker_limit")
    again = database.write(
        attempts.retry, database.read(runs.find, second.id), 60.0, FAILED, attempts.AttemptResult()
    )
    assert explain(database, again)[1] == "backoff"
    assert database.read(backlog.explain_wait, again, LEASE).not_before is not None
    assert database.read(backlog.explain_wait, running, LEASE) is None


def test_a_run_in_backoff_keeps_no_other_from_being_published_at_once(database, ask, people):
    pool(database, 2)
    [run] = ask(0, bounds=runs.QueueLimits())
    assert run.published_at
    database.write(attempts.retry, claim(database, run.id), 60.0, FAILED, attempts.AttemptResult())

    [other] = ask(1, bounds=runs.QueueLimits())

    assert other.published_at


def test_a_wish_to_end_outlives_whatever_the_attempt_does_meanwhile(database, ask, people):
    [user, _], *_ = people
    question = {"id": "q", "prompt": "?", "options": [], "message_id": None}
    ways = (
        lambda c, run: attempts.retry(c, run, 0.0, FAILED, attempts.AttemptResult()),
        lambda c, run: attempts.hand_back(c, run, attempts.AttemptResult()),
        lambda c, run: attempts.wait(c, run, question, attempts.AttemptResult()),
    )
    for way in ways:
        running = claim(database, ask(0)[0].id)
        database.write(runs.cancel, user.workspace_id, running.id)
        assert database.write(way, running).status is RunStatus.CANCELLED

    running = claim(database, ask(0)[0].id)
    database.write(recovery.release, POOL)
    [lost] = database.read(recovery.expired)
    database.write(runs.cancel, user.workspace_id, running.id)
    assert database.write(recovery.take_over, lost, [], 0.0, "Lost.") is None
    [lost] = database.read(recovery.expired)
    assert database.write(recovery.take_over, lost, [], 0.0, "Lost.").run.status is RunStatus.CANCELLED


def test_a_run_is_cancelled_while_it_waits_for_its_next_attempt_or_for_an_answer(database, ask, people):
    [user, _], *_ = people
    backing_off = database.write(
        attempts.retry, claim(database, ask(0)[0].id), 60.0, FAILED, attempts.AttemptResult()
    )
    asking = claim(database, ask(0)[0].id)
    database.write(attempts.wait, asking, {"id": "q"}, attempts.AttemptResult())

    for run in (backing_off, asking):
        done = database.write(runs.cancel, user.workspace_id, run.id)
        assert (done.run.status, done.changed, done.run.attempt) == (RunStatus.CANCELLED, True, 2)


def test_a_cancellation_that_races_with_everything_else_never_says_what_is_false(database, ask, people):
    [user, _], *_ = people
    chance = random.Random(7)

    def attempt(run_id: str, how: int) -> None:
        claimed = database.engine.claim(run_id, POOL, LEASE, {"": 200})
        if claimed is None:
            return
        try:
            if how == 0:
                end(database, claimed.run)
            elif how == 1:
                database.write(attempts.retry, claimed.run, 60.0, FAILED, attempts.AttemptResult())
            elif how == 2:
                database.write(attempts.hand_back, claimed.run, attempts.AttemptResult())
            else:
                database.write(attempts.wait, claimed.run, {"id": "q"}, attempts.AttemptResult())
        except StaleAttempt:
            pytest.fail("nobody else has taken it over")

    with ThreadPoolExecutor(4) as pool_of_threads:
        for _ in range(60):
            [run] = ask(0)
            how = chance.randrange(4)
            cancels = [lambda: database.write(runs.cancel, user.workspace_id, run.id).run] * 2  # noqa: B023
            jobs = [*cancels, lambda: attempt(run.id, how)]  # noqa: B023
            chance.shuffle(jobs)
            told = [job.result() for job in [pool_of_threads.submit(job) for job in jobs]]
            now = database.read(runs.find, run.id)
            assert now is not None and now.status.terminal, (how, now)
            for answer in told:
                if answer is not None and answer.status.terminal:
                    assert (answer.status, answer.finished_at) == (now.status, now.finished_at)


def test_a_thread_that_is_deleted_takes_its_runs_with_it_also_those_just_being_accepted(
    database, ask, people, monkeypatch
):
    [user, thread], *_ = people
    queued, running = ask(0, 3), claim(database, ask(0)[0].id)

    def delete(c: Any) -> None:
        threads.delete(c, user.workspace_id, thread.id)
        runs.cancel_all(c, thread.id)

    def late(_: int) -> None:
        try:
            ask(0)
        except NotFound:
            pass

    with ThreadPoolExecutor(7) as requests:
        accepted = [requests.submit(late, n) for n in range(12)]
        database.write(delete)
        for one in accepted:
            one.result()

    unwanted = sa.select(table.c.status).where(table.c.cancel_requested_at.is_(None))
    assert database.read(lambda c: c.execute(unwanted).all()) == []
    assert {database.read(runs.find, run.id).status for run in queued} == {RunStatus.CANCELLED}
    assert database.read(runs.find, running.id).status is RunStatus.RUNNING
