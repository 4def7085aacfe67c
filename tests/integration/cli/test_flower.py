"""Flower beside a real pool: who may look, what there is to see, and what all log; on both brokers."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import httpx
import pytest

from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import READY_WITHIN, Stack
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
def flower(stack: Stack) -> Iterator[Watcher]:
    """Ready when it knows the pool."""
    with Watcher(stack.environ) as watcher:
        until(watcher.workers, READY_WITHIN, "Flower knows the pool")
        until(lambda: "python@" in watcher.get("/workers").text, READY_WITHIN, "Flower has its events")
        yield watcher


@pytest.fixture
def client(stack: Stack) -> Iterator[Client]:
    with_account = stack.client()
    yield with_account
    with_account.close()


@pytest.mark.parametrize(
    "path", ["/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks", "/api/queues/length"]
)
def test_every_page_requires_the_password(flower, path):
    assert httpx.get(flower.base_url.join(path)).status_code == 401
    assert httpx.get(flower.base_url.join(path), auth=("watcher", "wrong")).status_code == 401
    assert flower.get(path).status_code == 200


def test_a_pool_is_listed_with_its_queue_and_its_slots(flower):
    [(name, worker)] = flower.workers().items()

    assert name.startswith("python@")
    assert [queue["name"] for queue in worker["active_queues"]] == [QUEUE]
    assert worker["stats"]["pool"]["max-concurrency"] == 1
    assert name in flower.get("/workers").text


def test_a_task_shows_its_run_its_worker_and_its_attempt(flower, client):
    run = client.ask(client.thread(), "hello")["runs"][0]
    client.wait(run)

    shown = f"run {run['id']}"
    [task] = until(lambda: [task for task in flower.tasks() if task["args"] == shown and task["succeeded"]])
    assert (task["name"], task["state"]) == ("echo, attempt 1", "SUCCESS")
    assert task["worker"].startswith("python@")
    page = flower.get(f"/task/{task['uuid']}").text
    assert shown in page
    assert "echo, attempt 1" in page


@pytest.mark.parametrize(
    ("mode", "timeout", "status", "code"),
    [("raise", None, "error", "worker_error"), ("hang", 1, "timeout", "timeout")],
)
def test_the_task_of_a_run_that_failed_has_failed(stack, flower, client, mode, timeout, status, code):
    asked = client.ask(client.thread(), "", worker_id="fake", config={"mode": mode}, timeout=timeout)
    run = asked["runs"][0]
    ended = client.wait(run)["run"]
    assert (ended["status"], ended["error"]["code"], ended["attempt"]) == (status, code, 1)
    assert "most recent call" in ended["error"]["log_tail"]

    shown = f"run {run['id']}"
    [task] = until(lambda: [task for task in flower.tasks() if task["args"] == shown and task["failed"]])
    assert (task["state"], task["retries"], task["traceback"]) == ("FAILURE", 0, "")
    assert task["exception"] == f"RunFailed('{status}: {code}')"
    [line] = [line for line in lines_of(stack, run).splitlines() if code in line]
    assert "Traceback" not in line


def test_a_queue_shows_how_many_runs_wait(flower, client):
    asked = client.ask(client.thread(), "word " * 300, config=SLOW, n=3)
    until(lambda: flower.depth(QUEUE) == 1, what="one runs, one is published, one waits in the database")

    page = flower.get("/broker").text
    assert QUEUE in page
    assert "guest:guest" not in page
    for run in asked["runs"]:
        client.post(f"/api/runs/{run['id']}/cancel", json={"wait": 5})
    until(lambda: flower.depth(QUEUE) == 0, what="nothing waits")


def test_flower_refuses_to_change_anything(flower, client):
    [name] = flower.workers()

    assert flower.post(f"/api/worker/shutdown/{name}").status_code == 403
    assert flower.post("/api/task/send-task/branchline.run", json={"args": ["x"]}).status_code == 403


def lines_of(stack, run) -> str:
    """What the pool has logged of a run."""
    return "\n".join(line for line in stack.log("pool python").splitlines() if run["id"] in line)


def test_every_process_logs_one_object_per_line_and_the_runs_in_it(stack, client, flower):
    thread = client.thread()
    run = client.ask(thread, "hello")["runs"][0]
    client.wait(run)
    until(lambda: "the run ends" in lines_of(stack, run), what="its end is logged")
    stack.kill("pool python", signal.SIGKILL)
    stack.start("pool python")
    stack.kill("pool python", signal.SIGTERM)
    stack.start("pool python")

    entries = {
        name: [json.loads(line) for line in stack.log(name).splitlines() if line.strip()]
        for name in ("web", "pool python", "reaper", "flower")
    }
    assert {entry["logger"] for entry in entries["web"]} >= {"gunicorn.error"}
    about = [entry for entry in entries["pool python"] if entry.get("run_id") == run["id"]]
    assert [entry["message"] for entry in about] == ["the run starts", "the run ends"]
    assert about[1]["status"] == "success"
    user = client.get("/api/me").json()["user"]["id"]
    for entry in about:
        assert (entry["attempt"], entry["worker_id"]) == (1, "echo")
        assert (entry["user_id"], entry["thread_id"]) == (user, thread["id"])
