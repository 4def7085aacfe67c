"""An error nobody expected costs one run or one request, or a process is replaced; nothing stops quietly.

Such errors are made by the database: it answers, and refuses, because a table is missing
or a text is forbidden.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql

from runtime.duties import EXIT_CODE
from runtime.settings import CHECKOUT
from runtime.testing.client import Client
from runtime.testing.ports import free_port
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import READY_WITHIN, Stack
from runtime.testing.waiting import until

SETTINGS = {
    "BRANCHLINE_POOL_RENEW": "0.2",
    "BRANCHLINE_POOL_DRAIN": "1",
    "BRANCHLINE_POOL_SLOTS": "2",
    "BRANCHLINE_REAPER_INTERVAL": "0.2",
    "BRANCHLINE_REAPER_PUBLISH_GRACE": "1",
    "BRANCHLINE_RUN_RETRY_BACKOFF": "0.1",
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, stack_postgresql_url: str, stack_redis: RedisServer):
    with Stack(tmp_path_factory.mktemp("stack"), stack_postgresql_url, stack_redis.url, **SETTINGS) as stack:
        yield stack


@contextmanager
def missing(url: str, table: str) -> Iterator[None]:
    """Within it, the database has no such table."""
    rename = sql.SQL("ALTER TABLE {} RENAME TO {}")
    names = sql.Identifier(table), sql.Identifier(f"{table}_aside")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(rename.format(*names))
        try:
            yield
        finally:
            connection.execute(rename.format(*reversed(names)))


def new_lines(stack: Stack, name: str, since: int) -> str:
    return stack.log(name)[since:]


def run_to_its_end(client: Client, text: str) -> None:
    run = client.ask(client.thread(), text)["runs"][0]
    result = client.wait(run)
    assert result["run"]["status"] == "success"
    assert [message["content"] for message in result["messages"]] == [text]


def test_a_pool_goes_on_after_an_error_that_passes(
    stack: Stack, client: Client, stack_postgresql_url: str
) -> None:
    process, since = stack.pool_process(), len(stack.log("pool python"))

    with missing(stack_postgresql_url, "duties"):
        until(
            lambda: "the duty 'renew leases' failed" in new_lines(stack, "pool python", since),
            what="the duty has failed",
        )

    run_to_its_end(client, "afterwards")
    assert stack.pool_process() == process
    assert "UndefinedTable" in new_lines(stack, "pool python", since)


@pytest.mark.parametrize("table", ["pools", "duties"])
def test_a_pool_whose_duty_cannot_be_done_is_replaced(
    stack: Stack, client: Client, stack_postgresql_url: str, table: str
) -> None:
    since = len(stack.log("pool python"))

    with missing(stack_postgresql_url, table):
        until(
            lambda: f"ended with exit code {EXIT_CODE}" in new_lines(stack, "pool python", since),
            READY_WITHIN,
            "the process has ended",
        )

    assert stack.processes["pool python"].poll() is None
    until(stack.ready, READY_WITHIN, "another one has taken its place")
    run_to_its_end(client, "afterwards")


def test_a_reaper_outlives_every_error_of_its_duties(
    stack: Stack, client: Client, stack_postgresql_url: str
) -> None:
    since = len(stack.log("reaper"))

    with missing(stack_postgresql_url, "outbox"):
        until(
            lambda: new_lines(stack, "reaper", since).count("failed; it begins again") > 6,
            READY_WITHIN,
            "its duties have failed again and again",
        )

    assert stack.processes["reaper"].poll() is None
    until(stack.ready, READY_WITHIN, "the pool is back")
    run_to_its_end(client, "afterwards")


def test_the_age_of_each_duty_is_in_the_metrics(stack: Stack) -> None:
    def reported() -> set[tuple[str, str]]:
        lines = httpx.get(f"{stack.url}/metrics", timeout=10).text.splitlines()
        ages = [line for line in lines if line.startswith("branchline_duty_age_seconds{")]
        labels = [dict(pair.split("=") for pair in line[28:].split("}")[0].split(",")) for line in ages]
        return {(one["process"].strip('"'), one["duty"].strip('"')) for one in labels}

    expected = {
        ("pool", "renew leases"),
        ("pool", "publish the backlog"),
        ("reaper", "rescue lost attempts"),
        ("web", "receive revocations"),
    }
    until(lambda: reported() >= expected, what="every process has reported its duties")


def test_a_web_process_says_when_its_duties_have_succeeded(stack: Stack) -> None:
    ready = httpx.get(f"{stack.url}/readyz", timeout=10)

    assert ready.status_code == 200
    assert ready.json()["checks"]["duties"] == "ok"
    assert ready.json()["duties"]["watch for the stop"] < 5


POISONED = """
import os
from runtime import duties
duties._PAUSES = (0.01,) * 5
start = duties.Duties.start
def start_poisoned(self, name, body, **more):
    def poisoned():
        if name == "receive revocations" and os.path.exists(os.environ["POISON"]):
            raise ValueError("nobody expected this")
        return body()
    return start(self, name, poisoned, **more)
duties.Duties.start = start_poisoned
"""


@pytest.mark.slow
def test_a_web_process_whose_duty_cannot_be_done_is_replaced(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(POISONED)
    poison, port = tmp_path / "poison", free_port()
    poison.touch()
    more = {"PORT": str(port), "POISON": str(poison), "PYTHONPATH": f"{tmp_path}{os.pathsep}{CHECKOUT}"}
    process = stack.start("web", key="web poisoned", **more)
    end = "the duty 'receive revocations' fails again and again; this process ends"

    def ready() -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=10).status_code == 200
        return False

    until(lambda: stack.log("web poisoned").count(end) > 1, READY_WITHIN, "another one has met it, too")
    poison.unlink()
    until(ready, READY_WITHIN, "one that can do it has taken its place")

    assert process.poll() is None
    assert "nobody expected this" in stack.log("web poisoned")


@contextmanager
def forbidden(url: str, text: str) -> Iterator[None]:
    """Within it, the database refuses messages with this text."""
    add = sql.SQL("ALTER TABLE messages ADD CONSTRAINT forbidden CHECK (content NOT LIKE {}) NOT VALID")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(add.format(sql.Literal(f"%{text}%")))
        try:
            yield
        finally:
            connection.execute("ALTER TABLE messages DROP CONSTRAINT forbidden")


@pytest.mark.parametrize("gap", [0, 0.4], ids=["at its end", "while it is open"])
def test_a_run_whose_text_cannot_be_stored_ends_once_and_ends_no_other(
    stack: Stack, client: Client, stack_postgresql_url: str, gap: float
) -> None:
    process = stack.pool_process()

    with forbidden(stack_postgresql_url, "poison"):
        config = {"text": "poison", "count": 4, "gap": gap}
        run = client.ask(client.thread(), "go", worker_id="fake", config=config)["runs"][0]
        other = client.ask(client.thread(), "fine")["runs"][0]
        ended = client.wait(run)["run"]
        assert client.wait(other)["run"]["status"] == "success"

    assert (ended["status"], ended["error"]["code"], ended["attempt"]) == ("error", "internal_error", 1)
    events = client.follow(run)
    assert [event.type for event in events].count("run.completed") == 1
    assert stack.pool_process() == process
