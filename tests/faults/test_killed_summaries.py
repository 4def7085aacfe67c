"""A summary is made although its pool dies in the midst of it, and the conversation goes on meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa

from runtime.model import Run
from runtime.settings import load
from runtime.store import Connection, Database, outbox, runs, tables
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until

pytestmark = pytest.mark.timeout(120)

TALKER = '''def run(run):
    """Says what it was given."""
    return " | ".join(message.content for message in run.messages)
'''
SCRIBE = '''import time
def run(run):
    """Says what it was given; of its first run the first attempt comes to no end."""
    if run.attempt == 1 and all(message.author != "summary" for message in run.messages):
        time.sleep(100)
    return f"{len(run.messages) - 1} in short"
'''
MANIFEST = 'id = "{0}"\nname = "{0}"\ntype = "python"\nentrypoint_path = "worker.py"\n'
WINDOW = '[window]\nmessages = 2\nsummary = "scribe"\n'
QUICK = {
    "BRANCHLINE_POOL_LEASE": "6",
    "BRANCHLINE_POOL_RENEW": "1",
    "BRANCHLINE_RUN_RETRY_BACKOFF": "0",
}


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, stack_database_url: str
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    for name, code, more in (("talker", TALKER, WINDOW), ("scribe", SCRIBE, "")):
        folder = home / "workers" / name
        folder.mkdir(parents=True)
        (folder / "worker.toml").write_text(MANIFEST.format(name) + more)
        (folder / "worker.py").write_text(code)
    settings = {**QUICK, "WORKERS_PATH": str(home / "workers")}
    with Stack(home, stack_database_url, stack_redis.url, **settings) as stack:
        yield stack


@pytest.fixture
def database(stack_database_url: str) -> Iterator[Database]:
    with closing(Database(stack_database_url, load({}).database)) as database:
        yield database


def reasons(c: Connection) -> list[str | None]:
    """What each task waits for."""
    return list(c.execute(sa.select(tables.outbox.c.error)).scalars())


@pytest.mark.slow
def test_a_summary_outlives_the_pool_that_makes_it_and_no_run_waits_for_it(
    stack: Stack, client: Client, database: Database
) -> None:
    thread = client.thread()

    def ask(text: str, state: str | None = None) -> dict[str, Any]:
        asked = client.ask(thread, text, state, worker_id="talker")
        ended = client.wait(asked["runs"][0])
        assert ended["run"]["status"] == "success", ended
        return ended

    def scribes() -> list[Run]:
        return database.read(runs.listing, None, worker_id="scribe").items[::-1]

    first = ask("one")
    second = ask("two", first["run"]["output_state_id"])
    assert second["run"]["window"]["left_out"] == 1
    until(lambda: [run.status for run in scribes()] == ["running"], what="the summary is being made")

    third = ask("three", second["run"]["output_state_id"])
    assert (third["run"]["window"]["left_out"], third["run"]["window"]["summed_up"]) == (3, 0)
    waits = "Another summary of the thread is being made."
    until(lambda: waits in database.read(reasons), what="the next one waits")
    os.kill(stack.pool_process(), signal.SIGKILL)
    until(lambda: [run.status for run in scribes()] == ["success", "success"], 60, "both summaries are made")
    until(lambda: database.read(outbox.counts) == [], what="they are kept")

    fourth = ask("four", third["run"]["output_state_id"])
    assert scribes()[0].attempt == 2
    assert fourth["run"]["window"]["summed_up"] == 4
    said = fourth["messages"][-1]["content"]
    assert said.startswith("Summary of the first 4 messages of this conversation:\n\n3 in short | ")
