"""RabbitMQ refuses a queue, or lets us not in: everybody is told why, and no process ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import amqp
import kombu
import pytest

from runtime.errors import BrokerUnavailable
from runtime.queue.refusal import refusal_of
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.command_line import doctor
from tests.support.forked import Forks
from tests.support.rabbitmq import RabbitMQ

QUEUE = "runs.python"
QUICK = {"BRANCHLINE_POOL_RENEW": "0.2", "BRANCHLINE_REAPER_PUBLISH_GRACE": "1"}


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, rabbitmq: RabbitMQ
) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    database_url = f"sqlite:///{home}/branchline.db"
    with Stack(home, database_url, stack_redis.url, BROKER_URL=rabbitmq.url, **QUICK) as stack:
        yield stack


@contextmanager
def another_queue(rabbitmq: RabbitMQ, **arguments: bool) -> Iterator[None]:
    """There is a queue of that name already, with other arguments."""
    with kombu.Connection(rabbitmq.url) as connection:
        channel = connection.default_channel
        channel.queue_delete(QUEUE)
        channel.queue_declare(QUEUE, **arguments)
        yield
        channel.queue_delete(QUEUE)


@contextmanager
def no_rights(rabbitmq: RabbitMQ) -> Iterator[None]:
    """Our user may enter the virtual host, and use nothing in it."""
    rabbitmq.permit("^$")
    rabbitmq.close_connections()
    yield
    rabbitmq.permit(".*")


@contextmanager
def no_entrance(rabbitmq: RabbitMQ) -> Iterator[None]:
    """Our user may not enter the virtual host."""
    rabbitmq.permit(None)
    rabbitmq.close_connections()
    yield
    rabbitmq.permit(".*")


REFUSALS: dict[str, Callable[[RabbitMQ], AbstractContextManager[None]]] = {
    "ACCESS_REFUSED": no_rights,
    "RESOURCE_LOCKED": lambda rabbitmq: another_queue(rabbitmq, durable=True, exclusive=True),
    "PRECONDITION_FAILED": lambda rabbitmq: another_queue(rabbitmq, durable=False, auto_delete=False),
    "NOT_ALLOWED": no_entrance,
}
"""By the word with which RabbitMQ's text begins, how it comes to that."""


@pytest.mark.rabbitmq
@pytest.mark.parametrize("word", REFUSALS)
def test_each_refusal_is_named_and_is_over_when_it_is_mended(
    stack: Stack, client: Client, forks: Forks, rabbitmq: RabbitMQ, word: str
) -> None:
    process = stack.pool_process()

    with REFUSALS[word](rabbitmq):
        run = client.ask(client.thread(), "Hello")["runs"][0]
        path = f"/api/runs/{run['id']}"
        until(lambda: client.get(path).json()["run"]["queue"]["reason"] == "queue_refused", what="the reason")
        assert "refuses" in client.get(path).json()["run"]["queue"]["message"]
        until(lambda: client.get("/readyz").status_code == 503, what="web is not ready")
        [missing] = client.get("/readyz").json()["missing"]
        assert (missing["what"], "the pool python" in missing["why"]) == ("broker", True)
        found = doctor(forks, stack)
        assert {one["about"] for one in found if word in one["found"] and one["remedy"]} == {"broker", "pool"}

    assert client.wait(run)["run"]["status"] == "success"
    assert stack.pool_process() == process
    until(lambda: client.get("/readyz").status_code == 200, what="web is ready")
    log = stack.log("pool python")
    assert "Traceback" not in log
    assert len([line for line in log.splitlines() if f"refuses the queue: {word}" in line]) == 1


@pytest.mark.parametrize("code", [403, 404, 405, 406, 530])
def test_every_code_of_a_refusal_is_one_whatever_is_put_around_it(code: int) -> None:
    error = amqp.exceptions.error_for_code(code, "WORD - why", (50, 10), amqp.AMQPError)
    around = BrokerUnavailable()
    around.__cause__ = error

    assert refusal_of(error) == refusal_of(around) == "WORD - why"
    assert refusal_of(amqp.exceptions.ConnectionForced("it stops")) is None
