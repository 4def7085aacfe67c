"""Redis, the database, the broker or the network between may fail: runs end once, with all of their text."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg
import pytest
import redis
from psycopg import sql

from runtime.queue.app import make_celery
from runtime.queue.publisher import publish
from runtime.settings import load
from runtime.store.backlog import Ticket
from runtime.testing.client import Client
from runtime.testing.postgresql_server import PostgreSQLServer
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import READY_WITHIN, Stack
from runtime.testing.waiting import until
from tests.support.cable import Cable
from tests.support.databases import own_postgresql
from tests.support.reader import Reader

SELECT = sql.SQL("SELECT {} FROM runs WHERE id = %s")

LEASE = 8.0
SETTINGS = {
    "BRANCHLINE_POOL_LEASE": str(LEASE),
    "BRANCHLINE_POOL_RENEW": "1",
    "BRANCHLINE_POOL_DRAIN": "0.5",
    "BRANCHLINE_POOL_SLOTS": "2",
    "BRANCHLINE_REDIS_TIMEOUT": "2",
    "BRANCHLINE_DATABASE_STATEMENT_TIMEOUT": "1",
    "BRANCHLINE_REAPER_INTERVAL": "0.2",
    "BRANCHLINE_REAPER_PUBLISH_GRACE": "1",
    "BRANCHLINE_REAPER_ANNOUNCE_GRACE": "0.5",
    "BRANCHLINE_RUN_RETRY_BACKOFF": "0.1",
}
MESSAGE = {"role": "user", "content": "hello"}
LONG = " ".join(f"word{number}" for number in range(100))
WORDS = " ".join(f"word{number}" for number in range(20))


@dataclass
class Site:
    """A stack whose pool reaches Redis and the database by cables; everybody else does directly."""

    stack: Stack
    redis: RedisServer
    postgresql: PostgreSQLServer
    database_url: str
    redis_cable: Cable
    database_cable: Cable

    def mend(self) -> None:
        self.redis_cable.join()
        self.database_cable.join()
        self.stack.mend()

    @property
    def direct(self) -> dict[str, str]:
        """What a process needs to reach everything without a cable."""
        return {"REDIS_URL": self.redis.url, "DATABASE_URL": self.database_url}

    def value(self, run: dict, column: str) -> object:
        """A column of a run as the database has it, whatever web answers."""
        with psycopg.connect(self.database_url, connect_timeout=3) as c:
            row = c.execute(SELECT.format(sql.Identifier(column)), [run["id"]]).fetchone()
        assert row is not None
        return row[0]

    def pools(self) -> int:
        """How many pool processes report themselves."""
        with psycopg.connect(self.database_url) as c:
            [count] = c.execute("SELECT count(*) FROM pools").fetchone() or [0]
        return int(count)

    def send(self, run: dict) -> None:
        """Send a run's message to the pool once more."""
        ticket = Ticket(run["id"], "python", run["worker_id"], 1)
        publish(make_celery(load({"REDIS_URL": self.redis.url})), ticket)

    def waiting(self) -> int:
        """How many messages no pool has received yet."""
        with redis.Redis.from_url(self.redis.url) as server:
            return int(server.llen("runs.python"))

    def lose_messages(self) -> None:
        """Forget what waits in the queue."""
        with redis.Redis.from_url(self.redis.url) as server:
            server.delete("runs.python")


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQLServer]:
    with own_postgresql() as server:
        yield server


@pytest.fixture(scope="module")
def whole_site(tmp_path_factory: pytest.TempPathFactory, postgresql: PostgreSQLServer) -> Iterator[Site]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), "--appendonly", "yes", "--appendfsync", "always")
    server.start()
    cables = Cable("127.0.0.1", server.port), Cable("127.0.0.1", postgresql.port)
    database_url = postgresql.database("branchline")
    by_cable = {
        "REDIS_URL": f"redis://127.0.0.1:{cables[0].port}/0",
        "DATABASE_URL": database_url.replace(str(postgresql.port), str(cables[1].port)),
    }
    home = tmp_path_factory.mktemp("stack")
    with Stack(home, database_url, server.url, apart={"pool python": by_cable}, **SETTINGS) as stack:
        site = Site(stack, server, postgresql, database_url, *cables)
        yield site
        site.mend()
    server.kill()
    for cable in cables:
        cable.close()


@pytest.fixture
def site(whole_site: Site) -> Site:
    whole_site.mend()
    return whole_site


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    with closing(site.stack.client()) as client:
        yield client


@pytest.fixture
def second_pool(site: Site) -> Iterator[None]:
    """Another process of the pool, on another machine, as it were: it reaches everything directly."""
    site.stack.start("pool python", key="second pool", **site.direct)
    until(lambda: site.pools() == 2, READY_WITHIN, "the second pool has reported itself")
    yield
    site.stack.kill("second pool", signal.SIGTERM)


def ask(client: Client, text: str = WORDS, delay_ms: int = 100) -> tuple[dict, Reader]:
    """A run whose answer has begun, and its reader."""
    run = client.ask(client.thread(), text, config={"delay_ms": delay_ms})["runs"][0]
    reader = Reader(client, run)
    until(lambda: reader.deltas() > 3, what="the answer has begun")
    return run, reader


def ask_fake(client: Client, **config: object) -> dict:
    return client.ask(client.thread(), "go", worker_id="fake", config=config)["runs"][0]


def assert_whole(client: Client, run: dict, text: str = WORDS, attempt: int = 1) -> None:
    """It ended well, on that attempt, with that text, all of it once."""
    result = client.wait(run)
    ended = result["run"]
    assert (ended["status"], ended["attempt"], ended["error"]) == ("success", attempt, None)
    assert [message["content"] for message in result["messages"]] == [text]


def assert_read(reader: Reader, text: str = WORDS) -> list[str]:
    """The reader has read just that. Returns the types of its events."""
    types = [event.type for event in reader.wait()]
    assert list(reader.text.messages.values()) == [text]
    assert types.count("run.completed") == 1
    return types


# ── Redis ──


def test_a_redis_that_is_killed_and_has_kept_its_log_costs_no_text(site, client):
    run, reader = ask(client)

    site.redis.kill()
    site.redis.start()

    assert_whole(client, run)
    assert_read(reader)


def test_runs_go_on_when_every_connection_to_redis_is_closed(site, client):
    run, reader = ask(client)

    with redis.Redis.from_url(site.redis.url) as server:
        for kind in ("normal", "pubsub"):
            server.client_kill_filter(_type=kind, skipme=True)
    later = client.ask(client.thread(), "later")["runs"][0]

    assert_whole(client, run)
    assert_whole(client, later, "later")
    assert "reset" not in assert_read(reader)


def test_runs_are_accepted_and_go_on_while_redis_hangs(site, client):
    run, reader = ask(client)
    thread = client.thread()

    site.redis.freeze()
    try:
        began = time.monotonic()
        later = client.ask(thread, "meanwhile", n=4)["runs"]
        streamed = {"worker_id": "echo", "messages": [{"role": "user", "content": "meanwhile"}]}
        answer = client.post("/api/runs", json=streamed, headers={"Accept": "text/event-stream"})
        took = time.monotonic() - began
        assert answer.status_code == 202  # a stream could not begin
        later += answer.json()["runs"]
        until(lambda: site.value(run, "status") == "success", 30, "the run has ended without Redis")
    finally:
        site.redis.thaw()

    assert took < 15
    assert_whole(client, run)
    for one in later:
        assert_whole(client, one, "meanwhile")
    assert_read(reader)


@pytest.mark.soak
def test_a_redis_that_hangs_for_half_a_minute_loses_nothing(site, client):
    run, reader = ask(client, LONG)
    thread = client.thread()

    site.redis.freeze()
    asked = []
    until_then = time.monotonic() + 30
    while time.monotonic() < until_then:
        began = time.monotonic()
        asked += client.ask(thread, "meanwhile")["runs"]
        assert time.monotonic() - began < 4
        time.sleep(2)
    site.redis.thaw()

    assert_whole(client, run, LONG)
    for one in asked:
        assert_whole(client, one, "meanwhile")
    assert_read(reader, LONG)


@pytest.mark.slow
def test_a_full_redis_holds_up_no_run_and_loses_none(site, client, tmp_path):
    gate, text = tmp_path / "gate", "x" * 1000 * 600  # in pieces, more than may wait to be appended
    run = ask_fake(client, mode="gate", text="x" * 1000, count=600, path=str(gate))
    reader = Reader(client, run)
    until(lambda: reader.deltas() > 0, what="the answer has begun")

    with redis.Redis.from_url(site.redis.url) as server:
        server.config_set("maxmemory", 1)
        gate.touch()
        accepted = client.ask(client.thread(), "later")["runs"][0]
        until(lambda: site.value(run, "status") == "success", what="the run has ended without Redis")
        assert client.get(f"/api/runs/{accepted['id']}").json()["run"]["status"] == "queued"
        server.config_set("maxmemory", 0)

    assert_whole(client, run, text * 2)
    assert_whole(client, accepted, "later")
    assert_read(reader, text * 2)


# ── the database ──


def test_a_restarted_database_costs_no_attempt(site, client):
    run, reader = ask(client, LONG)
    thread = client.thread()

    site.postgresql.stop()
    read = reader.deltas()
    assert_refused(post(client, thread))
    until(lambda: reader.deltas() > read + 2, what="the answer goes on")
    site.postgresql.start()

    assert_read(reader, LONG)
    assert_whole(client, run, LONG)


@pytest.mark.soak
def test_an_outage_of_the_database_for_twenty_seconds_loses_nothing(site, client):
    asked = [ask(client, LONG) for _ in range(2)]
    waiting = client.ask(client.thread(), "later")["runs"][0]

    site.postgresql.stop()
    time.sleep(20)
    site.postgresql.start()

    for run, reader in asked:
        assert_whole(client, run, LONG, attempt=2)
        assert_read(reader, LONG)
    assert_whole(client, waiting, "later")


def test_requests_are_answered_by_503_while_the_database_hangs(site, client):
    thread = client.thread()
    run, reader = ask(client)

    site.postgresql.freeze()
    try:
        assert_refused(post(client, thread))
    finally:
        site.postgresql.thaw()

    assert_read(reader)
    assert client.wait(run)["run"]["status"] == "success"


# ── the network ──


@pytest.mark.slow
def test_a_pool_that_cannot_reach_the_database_ends_its_child_before_the_lease(site, client, tmp_path):
    pid_file = tmp_path / "pid"
    run = ask_fake(client, mode="child", path=str(pid_file), until_attempt=2, text="done")
    reader = Reader(client, run)
    pid = int(until(lambda: pid_file.exists() and pid_file.read_text(), what="the child is there"))

    site.database_cable.silence()
    leases = []
    until(lambda: leases.append(site.value(run, "lease_until")) or not alive(pid), 2 * LEASE)
    ended = datetime.now(UTC)

    assert ended < leases[-1]
    site.stack.start("pool python", key="second pool", **site.direct)
    until(lambda: site.value(run, "status") == "success", READY_WITHIN, "it has gone on elsewhere")
    site.database_cable.join()
    assert_whole(client, run, "done", attempt=2)
    assert_read(reader, "done")
    site.stack.kill("second pool", signal.SIGTERM)
    assert_whole(client, client.ask(client.thread(), "again")["runs"][0], "again")


def test_a_pool_that_is_cut_off_from_redis_goes_on_without_it(site, client):
    run, reader = ask(client)

    site.redis_cable.cut()
    until(lambda: site.value(run, "status") == "success", what="the run has ended")
    later = client.ask(client.thread(), "later")["runs"][0]
    site.redis_cable.join()

    assert_whole(client, run)
    assert_whole(client, later, "later")
    assert_read(reader)


@pytest.mark.soak
def test_a_pool_goes_on_without_a_redis_that_falls_silent(site, client):
    run, reader = ask(client)

    site.redis_cable.silence()
    until(lambda: site.value(run, "status") == "success", 30, what="the run has ended")
    site.redis_cable.join()

    assert_whole(client, run)
    assert_whole(client, client.ask(client.thread(), "later")["runs"][0], "later")
    assert_read(reader)


# ── the broker ──


@pytest.mark.parametrize("pools", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_messages_that_come_twice_or_late_are_harmless(site, client, pools, request):
    if pools == 2:
        request.getfixturevalue("second_pool")
    run, reader = ask(client)
    ended = client.ask(client.thread(), "ended")["runs"][0]
    client.wait(ended)

    for one in (run, run, ended, ended):
        site.send(one)
    assert_read(reader)
    site.send(run)
    site.send(ended)
    until(lambda: site.waiting() == 0, what="every message was received")

    assert_whole(client, run)
    assert_whole(client, ended, "ended")


def test_a_lost_message_is_published_again(site, client, tmp_path):
    gate = tmp_path / "gate"
    busy = [ask_fake(client, mode="gate", text="x", path=str(gate)) for _ in range(2)]
    until(lambda: all(site.value(run, "status") == "running" for run in busy), what="every slot is in use")
    run = client.ask(client.thread(), "lost")["runs"][0]
    until(lambda: site.waiting() == 1, what="the message is there")

    site.lose_messages()
    gate.touch()

    for one in busy:
        assert_whole(client, one, "xx")
    assert_whole(client, run, "lost")


@pytest.mark.soak
def test_a_pool_ends_in_time_though_its_broker_is_away(site, client):
    run, reader = ask(client)
    site.redis_cable.cut()
    until(lambda: "the broker is away" in site.stack.log("pool python"), what="Celery has noticed")

    began = time.monotonic()
    site.stack.kill("pool python", signal.SIGTERM)
    took = time.monotonic() - began
    site.redis_cable.join()
    site.stack.start("pool python")

    assert took < 0.5 + 10
    assert client.wait(run)["run"]["failures"] == 0
    assert_whole(client, run, attempt=2)
    assert_read(reader)


def post(client: Client, thread: dict) -> httpx.Response:
    asked = {"worker_id": "echo", "input_state_id": thread["root_state_id"], "messages": [MESSAGE]}
    return client.post(f"/api/threads/{thread['id']}/runs", json=asked)


def assert_refused(response: httpx.Response) -> None:
    """As the API's document has it: try again later."""
    assert (response.status_code, response.json()["title"]) == (503, "Database not available")
    assert int(response.headers["Retry-After"]) > 0


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
