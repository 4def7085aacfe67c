"""RabbitMQ as the broker: it may close connections, go away, fall silent, or lose a queue."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest
from kombu.entity import PERSISTENT_DELIVERY_MODE as PERSISTENT

from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.cable import Cable
from tests.support.rabbitmq import RabbitMQ

pytestmark = pytest.mark.rabbitmq

QUEUE = "runs.python"
SLOW = {"delay_ms": 200}
LONG = "word " * 300
SETTINGS = {
    "BRANCHLINE_POOL_SLOTS": "2",
    "BRANCHLINE_POOL_DRAIN": "0.5",
    "BRANCHLINE_REAPER_PUBLISH_GRACE": "1",
}


@pytest.fixture(scope="module")
def cable(rabbitmq: RabbitMQ) -> Iterator[Cable]:
    cable = Cable(rabbitmq.host, rabbitmq.port)
    yield cable
    cable.close()


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, rabbitmq: RabbitMQ, cable: Cable
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    broker_url = rabbitmq.url_at("127.0.0.1", cable.port)
    database_url = f"sqlite:///{home}/branchline.db"
    with Stack(home, database_url, redis_server.url, BROKER_URL=broker_url, **SETTINGS) as stack:
        yield stack
        cable.join()  # whatever a test has done to it, the processes end properly


@pytest.fixture
def client(stack: Stack, cable: Cable) -> Iterator[Client]:
    cable.join()
    with_account = stack.client()
    yield with_account
    for status in ("queued", "running"):
        for run in with_account.get("/api/runs", params={"status": status}).json()["items"]:
            with_account.post(f"/api/runs/{run['id']}/cancel", json={"wait": 5})
    with_account.close()


def statuses(client: Client, asked: dict) -> list[str]:
    return [client.get(f"/api/runs/{run['id']}").json()["run"]["status"] for run in asked["runs"]]


def test_queues_and_messages_outlive_a_restart_of_the_broker(client, rabbitmq):
    client.ask(client.thread(), LONG, config=SLOW, n=3)
    until(lambda: rabbitmq.waiting(QUEUE) == 1)

    assert rabbitmq.queues()[QUEUE] is True
    assert rabbitmq.first(QUEUE)["delivery_mode"] == PERSISTENT


def test_a_pool_goes_on_after_its_connections_were_closed(client, rabbitmq):
    under_way = client.ask(client.thread(), "word " * 20, config=SLOW)["runs"][0]
    until(lambda: client.get(f"/api/runs/{under_way['id']}").json()["run"]["status"] == "running")
    rabbitmq.close_connections()

    later = client.ask(client.thread(), "later")["runs"][0]
    assert client.wait(later)["run"]["status"] == "success"
    result = client.wait(under_way)
    assert (result["run"]["status"], result["run"]["attempt"]) == ("success", 1)
    assert result["messages"][0]["content"] == "word " * 20


@pytest.mark.slow
def test_a_full_pool_whose_connections_were_closed_still_starts_each_run_once(client, rabbitmq):
    asked = client.ask(client.thread(), "word " * 25, config=SLOW, n=4)
    until(lambda: rabbitmq.waiting(QUEUE) == 2)
    rabbitmq.close_connections()

    for run in asked["runs"]:
        result = client.wait(run)
        assert (result["run"]["status"], result["run"]["attempt"]) == ("success", 1)
        assert [message["content"] for message in result["messages"]] == ["word " * 25]


def test_a_run_is_accepted_while_the_broker_is_away_and_executed_when_it_is_back(client, cable):
    thread = client.thread()
    cable.cut()
    asked = client.ask(thread, "meanwhile", n=2)
    assert statuses(client, asked) == ["queued", "queued"]

    cable.join()
    for run in asked["runs"]:
        assert client.wait(run)["messages"][0]["content"] == "meanwhile"


@pytest.mark.slow
def test_a_silent_broker_delays_nobody_for_long(client, cable):
    thread = client.thread()
    client.wait(client.ask(thread, "warm")["runs"][0])
    cable.silence()
    began = time.monotonic()
    asked = client.ask(thread, "into the silence")
    assert time.monotonic() - began < 10

    cable.join()
    assert client.wait(asked["runs"][0])["messages"][0]["content"] == "into the silence"


@pytest.mark.slow
def test_a_pool_ends_in_time_though_its_broker_is_silent(stack, client, cable):
    run = client.ask(client.thread(), LONG, config=SLOW)["runs"][0]
    until(lambda: client.get(f"/api/runs/{run['id']}").json()["run"]["status"] == "running")
    cable.silence()
    began = time.monotonic()
    stack.kill("pool python", signal.SIGTERM)
    assert time.monotonic() - began < 0.5 + 10
    found = client.get(f"/api/runs/{run['id']}").json()["run"]
    assert (found["status"], found["failures"]) == ("queued", 0)

    cable.join()
    stack.mend()


def test_a_queue_that_was_deleted_is_made_again(client, rabbitmq):
    rabbitmq.delete(QUEUE)
    run = client.ask(client.thread(), "still here")["runs"][0]

    assert client.wait(run)["run"]["status"] == "success"
    assert rabbitmq.queues()[QUEUE] is True
