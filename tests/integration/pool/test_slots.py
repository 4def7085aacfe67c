"""A pool process executes as many runs as it has slots, and starts the next one at once; on both brokers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from statistics import median

import pytest

from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until

SLOTS = 2
LONG = {"text": "word " * 600, "config": {"delay_ms": 100}}


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, broker_url: str
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    settings = {
        "BROKER_URL": broker_url,
        "BRANCHLINE_POOL_SLOTS": str(SLOTS),
        "BRANCHLINE_POOL_DRAIN": "0.5",
        # A message that one process hoards is not published again for another meanwhile.
        "BRANCHLINE_REAPER_PUBLISH_GRACE": "60",
    }
    with Stack(home, f"sqlite:///{home}/branchline.db", stack_redis.url, **settings) as stack:
        yield stack


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with_account = stack.client()
    yield with_account
    for run in with_account.get("/api/runs").json()["items"]:
        with_account.post(f"/api/runs/{run['id']}/cancel", json={"wait": 5})
    with_account.close()


@contextmanager
def second_pool(stack: Stack) -> Iterator[None]:
    """Another process of the same pool."""
    stack.start("pool python", "second pool")
    try:
        yield
    finally:
        stack.kill("second pool", signal.SIGTERM)


def statuses(client: Client, asked: dict) -> list[str]:
    return [run["status"] for run in runs(client, asked)]


def attempts(client: Client, asked: dict) -> list[tuple[str, int, int]]:
    return [(run["status"], run["attempt"], run["failures"]) for run in runs(client, asked)]


def runs(client: Client, asked: dict) -> list[dict]:
    return [client.get(f"/api/runs/{run['id']}").json()["run"] for run in asked["runs"]]


def test_a_run_that_finds_no_slot_in_one_process_is_executed_by_another(client, stack):
    asked = client.ask(client.thread(), **LONG, n=2 * SLOTS)
    until(lambda: statuses(client, asked).count("running") == SLOTS, what="the slots are taken")

    with second_pool(stack):
        until(
            lambda: statuses(client, asked) == ["running"] * 2 * SLOTS,
            40,
            "the other process executes the rest",
        )
        assert attempts(client, asked) == [("running", 1, 0)] * 2 * SLOTS


def test_a_slot_that_becomes_free_is_used_at_once(client):
    # Milliseconds; a process that looks up only with Celery's own loop is late by up to two seconds.
    assert any(wait_for_a_slot(client) < 0.7 for _ in range(3))


def wait_for_a_slot(client: Client) -> float:
    """Seconds (median) between the end of a run and the start of the next in its slot."""
    asked = client.ask(client.thread(), "a b c d e f g h i j", config={"delay_ms": 20}, n=5 * SLOTS)
    ended = [client.wait(run)["run"] for run in asked["runs"]]
    assert {run["status"] for run in ended} == {"success"}

    starts = sorted(datetime.fromisoformat(run["started_at"]) for run in ended)[SLOTS:]
    ends = sorted(datetime.fromisoformat(run["finished_at"]) for run in ended)
    return median((start - end).total_seconds() for end, start in zip(ends, starts, strict=False))


def test_a_full_pool_process_hands_its_runs_back_when_it_is_stopped(client, stack):
    asked = client.ask(client.thread(), **LONG, n=SLOTS)
    until(lambda: statuses(client, asked) == ["running"] * SLOTS, what="the slots are taken")

    with second_pool(stack):
        stack.kill("pool python", signal.SIGTERM)

        until(lambda: statuses(client, asked) == ["running"] * SLOTS, 30, "the other process runs them")
        assert attempts(client, asked) == [("running", 2, 0)] * SLOTS
        assert stack.processes["pool python"].returncode == 0
    stack.mend()
