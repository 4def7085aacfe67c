"""A pool on a machine of its own, as the kernel has it, from which packets are lost without a word."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import READY_WITHIN, Stack
from runtime.testing.waiting import until
from tests.support.databases import own_postgresql
from tests.support.namespace import Namespace, existing
from tests.support.reader import Reader

SELECT = sql.SQL("SELECT {} FROM runs WHERE id = %s")

pytestmark = pytest.mark.soak

SETTINGS = {
    "BRANCHLINE_POOL_LEASE": "8",
    "BRANCHLINE_POOL_RENEW": "1",
    "BRANCHLINE_POOL_DRAIN": "0.5",
    "BRANCHLINE_REDIS_TIMEOUT": "2",
}


@pytest.fixture(scope="module")
def machine() -> Iterator[Namespace]:
    with existing(Namespace("database", "redis")) as made:
        yield made


@pytest.fixture(scope="module")
def site(machine: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, str]]:
    addresses = ("127.0.0.1", machine.address("database"))
    with ExitStack() as undo:
        postgresql = undo.enter_context(own_postgresql(addresses=addresses))
        open_to_it = ("--bind", "127.0.0.1", machine.address("redis"), "--protected-mode", "no")
        server = undo.enter_context(RedisServer(tmp_path_factory.mktemp("redis"), *open_to_it))
        url = postgresql.database("branchline")
        home = tmp_path_factory.mktemp("stack")
        stack = undo.enter_context(Stack(home, url, server.url, pools=(), **SETTINGS))
        stack.start(
            "pool python",
            through=machine.through,
            DATABASE_URL=url.replace("127.0.0.1", addresses[1]),
            REDIS_URL=server.url.replace("127.0.0.1", machine.address("redis")),
        )
        stack.pools = ("python",)
        until(stack.ready, READY_WITHIN, "the pool has reported itself")
        undo.callback(machine.join)
        yield stack, url


@pytest.fixture
def client(site: tuple[Stack, str]) -> Iterator[Client]:
    with closing(site[0].client()) as client:
        yield client


def value(url: str, run: dict, column: str) -> object:
    with psycopg.connect(url) as c:
        row = c.execute(SELECT.format(sql.Identifier(column)), [run["id"]]).fetchone()
    assert row is not None
    return row[0]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def assert_whole(client: Client, run: dict, text: str, attempt: int) -> None:
    result = client.wait(run)
    assert (result["run"]["status"], result["run"]["attempt"]) == ("success", attempt)
    assert [message["content"] for message in result["messages"]] == [text]


def test_a_machine_that_loses_the_database_ends_its_child_before_the_lease(site, machine, client, tmp_path):
    stack, url = site
    config = {"mode": "child", "path": str(tmp_path / "pid"), "until_attempt": 2, "text": "done"}
    run = client.ask(client.thread(), "go", worker_id="fake", config=config)["runs"][0]
    reader = Reader(client, run)
    pid = int(until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))

    machine.cut("database")
    leases: list[object] = []
    until(lambda: leases.append(value(url, run, "lease_until")) or not alive(pid), what="the child was ended")
    assert datetime.now(UTC) < leases[-1]

    stack.start("pool python", key="second pool")
    until(lambda: value(url, run, "status") == "success", 30, "the run has gone on elsewhere")
    stack.kill("second pool", signal.SIGTERM)
    machine.join()

    assert_whole(client, run, "done", attempt=2)
    reader.wait()
    assert list(reader.text.messages.values()) == ["done"]
    assert_whole(client, client.ask(client.thread(), "again")["runs"][0], "again", attempt=1)


def test_a_machine_that_loses_redis_goes_on_without_it(site, machine, client):
    words = " ".join(f"word{number}" for number in range(40))
    run = client.ask(client.thread(), words, config={"delay_ms": 100})["runs"][0]
    reader = Reader(client, run)
    until(lambda: reader.deltas() > 3, what="the answer has begun")

    machine.cut("redis")
    until(lambda: value(site[1], run, "status") == "success", 40, "the run has ended without Redis")
    later = client.ask(client.thread(), "later")["runs"][0]
    machine.join()

    assert_whole(client, run, words, attempt=1)
    reader.wait()
    assert list(reader.text.messages.values()) == [words]
    assert client.wait(later)["messages"][0]["content"] == "later"
