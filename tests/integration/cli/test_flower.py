"""Flower beside a real pool: who may look, and what there is to see; on both brokers."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from runtime.testing.client import Client
from runtime.testing.ports import free_port
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.watcher import Watcher, flower_settings

QUEUE = "runs.python"
SLOW = {"delay_ms": 100}


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, broker_url: str
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    settings = {
        "BROKER_URL": broker_url,
        "LOG_FORMAT": "json",
        **flower_settings(),
        "BRANCHLINE_POOL_SLOTS": "1",
        "BRANCHLINE_POOL_DRAIN": "0.5",
    }
    with Stack(home, f"sqlite:///{home}/branchline.db", stack_redis.url, **settings) as stack:
        stack.start("flower")
        yield stack


@pytest.fixture
def flower(stack: Stack) -> Iterator[httpx.Client]:
    """Flower with the password; ready when it knows the pool."""
    url = f"http://127.0.0.1:{stack.environ['FLOWER_PORT']}"
    with httpx.Client(base_url=url, auth=("watcher", "open sesame"), timeout=10) as client:
        until(lambda: _workers(client), 40, "Flower knows the pool")
        until(lambda: "python@" in client.get("/workers").text, 40, "Flower has its events")
        yield client


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with_account = stack.client()
    yield with_account
    with_account.close()


def _workers(flower: httpx.Client) -> dict[str, Any]:
    try:
        known = (
            flower.get("/api/workers").json() or flower.get("/api/workers", params={"refresh": "1"}).json()
        )
    except httpx.TransportError:
        return {}
    return {name: found for name, found in known.items() if {"active_queues", "stats"} <= found.keys()}


def _depth(flower: httpx.Client) -> int:
    queues = flower.get("/api/queues/length").raise_for_status().json()["active_queues"]
    return {queue["name"]: queue["messages"] for queue in queues}.get(QUEUE, 0)


def _tasks(flower: httpx.Client) -> list[dict[str, Any]]:
    return list(flower.get("/api/tasks").raise_for_status().json().values())


@pytest.mark.parametrize(
    "path", ["/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks", "/api/queues/length"]
)
def test_every_page_requires_the_password(flower, path):
    assert httpx.get(flower.base_url.join(path)).status_code == 401
    assert httpx.get(flower.base_url.join(path), auth=("watcher", "wrong")).status_code == 401
    assert flower.get(path).status_code == 200


def test_a_pool_is_listed_with_its_queue_and_its_slots(flower):
    [(name, worker)] = _workers(flower).items()

    assert name.startswith("python@")
    assert [queue["name"] for queue in worker["active_queues"]] == [QUEUE]
    assert worker["stats"]["pool"]["max-concurrency"] == 1
    assert name in flower.get("/workers").text


def test_a_task_shows_its_run_its_worker_and_its_attempt(flower, client):
    run = client.ask(client.thread(), "hello")["runs"][0]
    client.wait(run)

    shown = f"run {run['id']}"
    [task] = until(lambda: [task for task in _tasks(flower) if task["args"] == shown and task["succeeded"]])
    assert (task["name"], task["state"]) == ("echo, attempt 1", "SUCCESS")
    assert task["worker"].startswith("python@")
    page = flower.get(f"/task/{task['uuid']}").text
    assert shown in page
    assert "echo, attempt 1" in page


def test_a_queue_shows_how_many_runs_wait(flower, client):
    asked = client.ask(client.thread(), "word " * 300, config=SLOW, n=3)
    until(lambda: _depth(flower) == 1, what="one runs, one is published, one waits in the database")

    page = flower.get("/broker").text
    assert QUEUE in page
    assert "guest:guest" not in page
    for run in asked["runs"]:
        client.post(f"/api/runs/{run['id']}/cancel", json={"wait": 5})
    until(lambda: _depth(flower) == 0, what="nothing waits")


def test_flower_refuses_to_change_anything(flower, client):
    [name] = _workers(flower)

    assert flower.post(f"/api/worker/shutdown/{name}").status_code == 403
    assert flower.post("/api/task/send-task/branchline.run", json={"args": ["x"]}).status_code == 403
