"""Who starts next, how many at once, and how runs are cancelled; by real pools with few slots."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from runtime import settings as settings_module
from runtime.store import Database
from runtime.store.tables import runs
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import READY_WITHIN, Stack
from runtime.testing.waiting import until
from tests.support.more_workers import with_workers

SLOTS = 4
LIMIT = 2 * SLOTS
SETTINGS = {
    "BRANCHLINE_POOL_SLOTS": str(SLOTS),
    "BRANCHLINE_POOL_KILL_GRACE": "0.3",
    "BRANCHLINE_POOL_DRAIN": "0.2",
    "BRANCHLINE_RUN_RETRY_BACKOFF": "0.2",
}


only_postgresql = pytest.mark.parametrize("stack_database_url", ["postgresql"], indirect=True)


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, stack_database_url: str
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    # With one pool process no user reaches the limit, but publishing goes the way of limits.
    limits = (
        {} if stack_database_url.startswith("sqlite") else {"BRANCHLINE_LIMITS_RUNNING_PER_USER": str(LIMIT)}
    )
    paths = with_workers(home, "narrow")
    with Stack(home, stack_database_url, stack_redis.url, WORKERS_PATH=paths, **SETTINGS, **limits) as stack:
        yield stack


@pytest.fixture(scope="module")
def database(stack_database_url: str) -> Iterator[Database]:
    database = Database(stack_database_url, settings_module.load({}).database)
    yield database
    database.close()


@pytest.fixture(scope="module")
def clients(stack: Stack) -> Iterator[list[Client]]:
    three = [stack.client() for _ in range(3)]
    yield three
    for client in three:
        client.close()


def ask_many(client: Client, count: int, **body: Any) -> dict[str, Any]:
    """``count`` runs on a new thread of the client; returns the thread."""
    thread = client.thread()
    while count > 0:
        client.ask(thread, "go", n=min(16, count), **body)
        count -= 16
    return thread


def started(database: Database) -> list[Any]:
    """Runs that have started, in that order."""
    query = sa.select(runs).where(runs.c.started_at.is_not(None)).order_by(runs.c.started_at)
    return list(database.read(lambda c: c.execute(query).all()))


def at_once(found: list[Any]) -> int:
    """How many of these runs there were at most at any moment."""
    moments = [(run.started_at, 1) for run in found] + [(run.finished_at, -1) for run in found]
    most = now = 0
    for _, step in sorted(moments):
        now += step
        most = max(most, now)
    return most


@pytest.mark.parametrize(
    "stack_database_url", [pytest.param("sqlite", marks=pytest.mark.slow), "postgresql"], indirect=True
)
def test_a_single_run_starts_soon_behind_a_thousand_of_another_user(clients, database):
    greedy, modest, other = clients
    busy = {"worker_id": "fake", "config": {"mode": "ok", "count": 2, "gap": 0.1}}
    thread = ask_many(greedy, 1000, **busy)
    full = {"input_state_id": thread["root_state_id"], "worker_id": "fake", "n": 16, "messages": []}
    while (refused := greedy.post(f"/api/threads/{thread['id']}/runs", json=full)).status_code == 202:
        pass
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0

    single = modest.ask(modest.thread(), "me too")["runs"][0]
    accepted_at = datetime.now(UTC)
    assert modest.wait(single, timeout=60)["run"]["status"] == "success"

    [mine] = [run for run in started(database) if run.id == single["id"]]
    between = [r for r in started(database) if accepted_at < r.started_at < mine.started_at]
    # What was published with it comes behind it (test_backlog), but two are claimed at once.
    before = [r for r in between if r.published_at < mine.published_at - timedelta(milliseconds=5)]
    assert len(before) <= SLOTS
    even_shares(database, [greedy, modest, other], busy)

    assert greedy.delete(f"/api/threads/{thread['id']}").status_code == 204
    assert all(
        not greedy.get("/api/runs", params={"status": s}).json()["items"] for s in ("queued", "waiting")
    )
    until(
        lambda: not greedy.get("/api/runs", params={"status": "running"}).json()["items"],
        what="all have ended",
    )


def even_shares(database: Database, clients: list[Client], body: dict[str, Any]) -> None:
    """Of three users who all wait, each starts at least half of an equal share.

    Three cannot share four slots evenly at any moment, and who came first has the odd ones.
    """
    _, second, third = clients
    threads = [ask_many(client, 32, **body) for client in (second, third)]
    users = [client.get("/api/me").json()["user"]["id"] for client in clients]
    begin = database.read(lambda c: c.execute(sa.select(sa.func.max(runs.c.created_at))).scalar_one())
    counted = 9 * SLOTS

    def enough() -> list[Any]:
        found = [run for run in started(database) if run.started_at > begin][SLOTS:]
        return found[:counted] if len(found) >= counted else []

    shares = Counter(run.user_id for run in until(enough, 60))
    assert min(shares[user] for user in users) >= counted / len(users) / 2, shares
    for client, thread in zip((second, third), threads, strict=True):
        client.delete(f"/api/threads/{thread['id']}")


def ask(client: Client, **config: Any) -> dict[str, Any]:
    """A run of the worker ``fake`` whose first text has arrived."""
    run = client.ask(client.thread(), "go", worker_id="fake", config=config)["runs"][0]
    with client.stream(f"/api/runs/{run['id']}/events") as events:
        next(event for event in events if event.type == "message.delta")
    return run


@only_postgresql
def test_a_worker_that_ignores_its_cancellation_or_timeout_is_killed(clients):
    client = clients[0]
    ignoring = ask(client, mode="ignore_term")
    late = client.ask(client.thread(), "go", worker_id="fake", config={"mode": "ignore_term"}, timeout=0.3)

    for _ in range(2):
        answer = client.post(f"/api/runs/{ignoring['id']}/cancel").json()["run"]
        assert answer["cancel_requested_at"]
    ended = client.wait(ignoring)
    assert (ended["run"]["status"], ended["messages"][0]["status"]) == ("cancelled", "partial")
    assert client.wait(late["runs"][0])["run"]["error"]["code"] == "timeout"


@only_postgresql
def test_only_a_retryable_failure_is_retried_and_the_discarded_messages_are_announced(clients):
    client = clients[0]
    failing = {"worker_id": "fake", "config": {"mode": "fail", "until_attempt": 2, "retryable": True}}
    run = client.ask(client.thread(), "go", **failing)["runs"][0]
    final = client.ask(client.thread(), "go", worker_id="fake", config={"mode": "fail"})["runs"][0]

    events = client.follow(run)
    [retried] = [event for event in events if event.type == "run.retried"]
    created = [event.data["message"]["id"] for event in events if event.type == "message.created"]
    assert retried.data["discarded"] == created[:1]
    ended = client.wait(run)
    assert (ended["run"]["status"], ended["run"]["attempt"], ended["run"]["failures"]) == ("success", 2, 1)
    assert [message["id"] for message in ended["messages"]] == created[1:]
    ended = client.wait(final)["run"]
    assert (ended["status"], ended["attempt"], ended["error"]["retryable"]) == ("error", 1, False)


@only_postgresql
def test_a_run_with_one_attempt_is_never_started_twice(clients, stack):
    client = clients[0]

    def narrow() -> dict[str, Any]:
        run = client.ask(client.thread(), "go", worker_id="narrow", args=60)["runs"][0]
        with client.stream(f"/api/runs/{run['id']}/events") as events:
            next(event for event in events if event.type == "message.delta")
        return run

    killed = narrow()
    os.kill(stack.pool_process(), signal.SIGKILL)
    lost = client.wait(killed, timeout=60)
    drained = narrow()
    stack.kill("pool python", signal.SIGTERM)
    handed_on = client.wait(drained, timeout=60)
    stack.mend()

    for ended in (lost, handed_on):
        assert (ended["run"]["status"], ended["run"]["error"]["code"]) == ("error", "lost")
        assert [(m["content"], m["status"]) for m in ended["messages"]] == [("begun", "partial")]
    for run in (killed, drained):
        tried = client.get(f"/api/runs/{run['id']}/attempts").json()["items"]
        assert [len(attempt["messages"]) for attempt in tried][1:] in (
            [],
            [0],
        )  # the reaper's end is an attempt


@only_postgresql
def test_limits_of_runs_at_once_hold_on_two_pool_processes(clients, stack, database):
    one, other, _ = clients
    stack.start("pool python", "second pool", BRANCHLINE_POOL_SLOTS=str(2 * LIMIT))
    until(
        lambda: one.get("/api/workers/narrow").json()["worker"]["slots"] > 2 * LIMIT,
        READY_WITHIN,
        "there are two",
    )
    asked: set[str] = set()

    def ended() -> list[Any]:
        found = [run for run in started(database) if run.id in asked]
        return found if sum(run.finished_at is not None for run in found) == len(asked) else []

    os.kill(stack.processes["reaper"].pid, signal.SIGSTOP)  # an end is to free the next by itself
    try:
        for runs in (
            one.ask(one.thread(), "go", worker_id="narrow", args=0.2, n=4)["runs"],
            one.ask(one.thread(), "a b c d e f", n=16, config={"delay_ms": 50})["runs"],
            other.ask(other.thread(), "go", worker_id="narrow", args=0.2, n=2)["runs"],
        ):
            asked.update(run["id"] for run in runs)
        found = until(ended, 60, "all have ended")
    finally:
        os.kill(stack.processes["reaper"].pid, signal.SIGCONT)

    assert {run.status for run in found} == {"success"}
    user = one.get("/api/me").json()["user"]["id"]
    assert 1 < at_once([run for run in found if run.user_id == user]) <= LIMIT
    assert at_once([run for run in found if run.worker_id == "narrow"]) <= 2
