"""RabbitMQ is killed and restarted under load: what it was to carry is carried, once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from runtime.queue.app import make_celery
from runtime.queue.publisher import publish
from runtime.settings import load
from runtime.store.backlog import Ticket
from runtime.testing.client import Client
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.support.rabbitmq_node import NoRabbitMQ, RabbitMQNode
from tests.support.reader import Reader

pytestmark = [pytest.mark.rabbitmq, pytest.mark.soak, pytest.mark.timeout(600)]

WORDS = " ".join(f"word{number}" for number in range(20))
QUICK = {"delay_ms": 20}
ASKERS = 4
MEANWHILE = 12
"""Runs that are to be accepted while the node is away."""
SETTINGS = {
    "BRANCHLINE_POOL_SLOTS": "6",
    "BRANCHLINE_REAPER_PUBLISH_GRACE": "2",
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQNode]:
    try:
        node = RabbitMQNode(tmp_path_factory.mktemp("rabbitmq"))
    except NoRabbitMQ as reason:
        pytest.skip(str(reason))
    with closing(node):
        node.start()
        yield node


@pytest.fixture
def stack(
    tmp_path: Path, redis_server: RedisServer, empty_postgresql_url: str, node: RabbitMQNode
) -> Iterator[Stack]:
    with Stack(tmp_path, empty_postgresql_url, redis_server.url, BROKER_URL=node.url, **SETTINGS) as stack:
        yield stack


class Asker:
    """Asks until it is stopped, with some runs under way at a time, and reads every answer."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.runs: list[dict] = []
        self.readers: list[Reader] = []
        self._thread = client.thread()
        self._stopped = threading.Event()
        self._failure: BaseException | None = None
        self._asking = threading.Thread(target=self._ask, daemon=True)
        self._asking.start()

    def stop(self) -> None:
        """Ask no more. Raises what went wrong with an asking."""
        self._stopped.set()
        self._asking.join(60)
        if self._failure is not None:
            raise self._failure

    def _ask(self) -> None:
        try:
            while not self._stopped.wait(0.2):
                run = self.client.ask(self._thread, WORDS, config=QUICK)["runs"][0]
                self.runs.append(run)
                self.readers.append(Reader(self.client, run))
        except BaseException as failure:
            self._failure = failure


def test_queues_and_their_messages_outlive_the_node(node: RabbitMQNode) -> None:
    with make_celery(load({"BROKER_URL": node.url})) as app:
        for count, number in enumerate((signal.SIGKILL, signal.SIGTERM), 1):
            publish(app, Ticket("a run", "kept", "echo", 1))
            node.stop(number)
            node.start()
            assert node.waiting("runs.kept") == count


def test_a_node_that_is_restarted_under_load_loses_and_doubles_nothing(
    stack: Stack, node: RabbitMQNode
) -> None:
    with ExitStack() as undo:
        askers = [Asker(undo.enter_context(closing(stack.client()))) for _ in range(ASKERS)]

        def accepted() -> int:
            return sum(len(asker.runs) for asker in askers)

        def read() -> int:
            return sum(reader.deltas() > 0 for asker in askers for reader in asker.readers)

        for number in (signal.SIGKILL, signal.SIGTERM):
            begun = read()
            until(lambda begun=begun: read() > begun + ASKERS, 40, "runs are under way")
            node.stop(number)
            before = accepted()
            until(lambda before=before: accepted() > before + MEANWHILE, 60, "runs are accepted meanwhile")
            node.start()
        for asker in askers:
            asker.stop()

        for asker in askers:
            for run, reader in zip(asker.runs, asker.readers, strict=True):
                events = reader.wait(120)
                result = asker.client.wait(run)
                ended = result["run"]
                assert (ended["status"], ended["attempt"], ended["failures"]) == ("success", 1, 0)
                assert [message["content"] for message in result["messages"]] == [WORDS]
                assert list(reader.text.messages.values()) == [WORDS]
                types = [event.type for event in events]
                assert [types.count(once) for once in ("run.queued", "run.started", "run.completed")] == [
                    1
                ] * 3
            listed = asker.client.get("/api/runs", params={"limit": 200}).json()
            assert listed["next"] is None
            assert {run["id"] for run in listed["items"]} == {run["id"] for run in asker.runs}
