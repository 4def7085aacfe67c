"""Two web processes and three pool processes on one Redis and one PostgreSQL are one system."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from runtime.testing.client import Client
from runtime.testing.ports import free_port
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import READY_WITHIN, Stack
from runtime.testing.waiting import until
from tests.support.reader import Reader

SLOTS = 8
POOLS = ("pool python", "second pool", "third pool")
RUNS = len(POOLS) * SLOTS
TEXT = "Some words, ünd ☃ more; "
SETTINGS = {
    "BRANCHLINE_POOL_SLOTS": str(SLOTS),
    "BRANCHLINE_DATABASE_POOL_SIZE": "6",
    "BRANCHLINE_POOL_LEASE": "8",
    "BRANCHLINE_POOL_RENEW": "1",
    "BRANCHLINE_POOL_DRAIN": "0.5",
}


@pytest.fixture(scope="module")
def wide(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, postgresql_session: str
) -> Iterator[tuple[Stack, str]]:
    """The stack, and the address of its second web process."""
    home, port = tmp_path_factory.mktemp("stack"), free_port()
    with Stack(home, postgresql_session, stack_redis.url, **SETTINGS) as stack:
        stack.start("web", "second web", PORT=str(port))
        yield stack, f"http://127.0.0.1:{port}"


@pytest.fixture
def clients(wide: tuple[Stack, str]) -> Iterator[list[Client]]:
    """One account, signed in at both web processes."""
    stack, second_url = wide
    for key in POOLS:
        if key not in stack.processes or stack.processes[key].poll() is not None:
            stack.start("pool python", key)
    first = stack.client()
    second = Client(second_url)
    second.cookies = first.cookies
    until(lambda: slots(first) == RUNS, READY_WITHIN, "three pools have reported themselves")
    until(lambda: answers(second), READY_WITHIN, "the second web process answers")
    yield [first, second]
    first.close()
    second.close()


def slots(client: Client) -> int:
    [found] = [w["slots"] for w in client.get("/api/workers").json()["items"] if w["id"] == "fake"]
    return found


def answers(client: Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def ask_all(clients: list[Client], gate: Path) -> list[tuple[dict, list[Reader]]]:
    """As many runs as there are slots, asked for at both webs in turn, each read from both."""
    config = {"mode": "gate", "path": str(gate), "text": TEXT, "count": 5}
    threads = [clients[0].thread() for _ in range(RUNS // 2)]
    asked = [
        clients[number % 2].ask(threads[number // 2], "Speak.", worker_id="fake", config=config)["runs"][0]
        for number in range(RUNS)
    ]
    return [(run, [Reader(client, run) for client in clients]) for run in asked]


def running(client: Client) -> int:
    return len(client.get("/api/runs", params={"status": "running", "limit": 100}).json()["items"])


def assert_ended_once_with_one_text(client: Client, run: dict, readers: list[Reader]) -> None:
    stored = client.wait(run)
    assert stored["run"]["status"] == "success"
    [message] = stored["messages"]
    assert message["content"] == TEXT * 10
    for reader in readers:
        events = reader.wait()
        ends = [event.data["status"] for event in events if event.type == "run.completed"]
        assert ends == ["success"]
        assert list(reader.text.messages.values()) == [message["content"]]
        numbers = [event.data["seq"] for event in events]
        assert numbers == sorted(set(numbers))


def test_runs_are_shared_by_pools_and_read_alike_on_either_web_process(clients, tmp_path):
    gate = tmp_path / "gate"
    asked = ask_all(clients, gate)

    until(lambda: running(clients[0]) == RUNS, 40, "every slot of every pool executes a run")
    gate.touch()

    for run, readers in asked:
        assert_ended_once_with_one_text(clients[1], run, readers)
        assert clients[0].wait(run)["run"]["attempt"] == 1


def test_runs_of_a_pool_that_dies_are_executed_by_the_others(wide, clients, tmp_path):
    stack, _ = wide
    gate = tmp_path / "gate"
    asked = ask_all(clients, gate)
    until(lambda: running(clients[0]) == RUNS, 40, "every slot of every pool executes a run")

    os.killpg(stack.processes["second pool"].pid, signal.SIGKILL)
    stack.processes["second pool"].wait()
    gate.touch()

    for run, readers in asked:
        assert_ended_once_with_one_text(clients[0], run, readers)
    attempts = [clients[0].wait(run)["run"]["attempt"] for run, _ in asked]
    assert attempts.count(2) == SLOTS and attempts.count(1) == RUNS - SLOTS
