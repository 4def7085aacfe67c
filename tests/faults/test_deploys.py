"""A new version is started process by process: nobody loses a run, any text, or a position in a stream."""

from __future__ import annotations

import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from itertools import pairwise

import httpx
import pytest

from runtime.testing.client import PASSWORD, Client
from runtime.testing.ports import free_port
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import READY_WITHIN, Stack
from runtime.testing.waiting import until
from tests.support.balancer import Balancer
from tests.support.reader import Reader

WORDS = " ".join(f"word{number}" for number in range(60))
SLOW = {"delay_ms": 40}
SLOTS = 20
ASKERS = 4
MOST_PAUSE = 8.0
"""Seconds until a run that was handed back goes on elsewhere; on a machine of one's own, less than one.
One that waited for its lease, or to be published again, would take ten."""
SECOND_PORT = free_port()
SETTINGS = {
    "BRANCHLINE_DATABASE_POOL_SIZE": "6",
    "BRANCHLINE_POOL_DRAIN": "1",
    "BRANCHLINE_POOL_SLOTS": str(SLOTS),
    "BRANCHLINE_WEB_DRAIN": "2",
}


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, stack_redis: RedisServer, stack_postgresql_url: str
) -> Iterator[Stack]:
    """Two processes of each kind, but for the reaper; the second pool process has more patience."""
    home = tmp_path_factory.mktemp("stack")
    with Stack(home, stack_postgresql_url, stack_redis.url, from_python=True, **SETTINGS) as stack:
        stack.start("web", "web 2", PORT=str(SECOND_PORT))
        stack.start("pool python", "pool python 2", BRANCHLINE_POOL_DRAIN="60")
        until(lambda: is_ready(SECOND_PORT), READY_WITHIN, "the second web process is ready")
        both_report_themselves(stack)
        yield stack


class Asker:
    """Asks one question after another, and reads each answer, until it is stopped."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.thread = client.thread()
        self.runs: list[dict] = []
        self.readers: list[Reader] = []
        self._stopped = threading.Event()
        self._asking = threading.Thread(target=self._ask, daemon=True)
        self._asking.start()

    def reads(self) -> bool:
        """Whether an answer has begun, and not ended."""
        if not self.readers:
            return False
        reader = self.readers[-1]
        return reader.deltas() > 0 and reader.events[-1].type != "run.completed"

    def stop(self) -> None:
        """Ask no more; returns when the last answer has come."""
        self._stopped.set()
        self._asking.join(60)
        assert not self._asking.is_alive()

    def _ask(self) -> None:
        while not self._stopped.is_set():
            run = self._accepted(str(uuid.uuid4()))
            self.runs.append(run)
            self.readers.append(Reader(self.client, run))
            self.readers[-1].wait()

    def _accepted(self, key: str) -> dict:
        """The run; asked for again where no answer came, which is the same question by its key."""
        body = {
            "worker_id": "echo",
            "input_state_id": self.thread["root_state_id"],
            "messages": [{"role": "user", "content": WORDS}],
            "config": SLOW,
        }
        while True:
            try:
                path = f"/api/threads/{self.thread['id']}/runs"
                answer = self.client.post(path, json=body, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                continue
            assert answer.status_code == 202, answer.text
            return answer.json()["runs"][0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "keys",
    [
        ("web", "pool python", "reaper"),
        pytest.param(("web", "web 2", "pool python", "reaper") * 5, marks=pytest.mark.soak),
    ],
    ids=["once", "again and again"],
)
@pytest.mark.timeout(600)
def test_a_rolling_restart_under_load_loses_and_doubles_nothing(stack: Stack, keys: tuple[str, ...]) -> None:
    with closing(Balancer(stack.port, SECOND_PORT)) as balancer:
        askers = [Asker(account(balancer.url)) for _ in range(ASKERS)]
        for key in keys:
            until(lambda: all(asker.reads() for asker in askers), what="all are reading")
            restart(stack, key)
        for asker in askers:
            asker.stop()

        handed_back = 0
        for asker in askers:
            with closing(asker.client) as client:
                known = client.get("/api/runs", params={"thread_id": asker.thread["id"], "limit": 100}).json()
                assert {run["id"] for run in known["items"]} == {run["id"] for run in asker.runs}
                for run, reader in zip(asker.runs, asker.readers, strict=True):
                    result = client.wait(run)
                    assert (result["run"]["status"], result["run"]["failures"]) == ("success", 0)
                    assert [message["content"] for message in result["messages"]] == [WORDS]
                    assert list(reader.text.messages.values()) == [WORDS]
                    assert "reset" not in [event.type for event in reader.events]
                    seqs = [event.data["seq"] for event in reader.events]
                    assert len(seqs) == len(set(seqs))
                    handed_back += result["run"]["attempt"] - 1
                    assert all(pause < MOST_PAUSE for pause in pauses(reader)), pauses(reader)
        # Once, all runs may happen to be with the other pool process, or about to end.
        assert handed_back or keys.count("pool python") == 1, "no run was in the way of the restarts"


def test_a_second_signal_hands_the_runs_back_at_once(stack: Stack) -> None:
    patient = stack.processes["pool python 2"]
    stack.kill("pool python", signal.SIGTERM)
    with closing(stack.client()) as client:
        run = client.ask(client.thread(), " ".join([WORDS] * 4), config=SLOW)["runs"][0]
        reader = Reader(client, run)
        until(reader.deltas, 40, "the answer has begun")
        patient.send_signal(signal.SIGINT)
        until(lambda: slots(client) == 0, what="the pool process drains")
        patient.send_signal(signal.SIGINT)
        assert patient.wait(20) == 0

        stack.start("pool python")
        reader.wait()
        ended = client.wait(run)["run"]
        assert (ended["status"], ended["attempt"], ended["failures"]) == ("success", 2, 0)


def restart(stack: Stack, key: str) -> None:
    """End a process in good order and start it again."""
    stack.kill(key, signal.SIGTERM)
    assert stack.processes[key].returncode == 0, stack.log(key)
    port = SECOND_PORT if key == "web 2" else stack.port
    stack.start(key.removesuffix(" 2"), key, PORT=str(port))
    until(lambda: is_ready(port), READY_WITHIN, "the web process is ready")
    both_report_themselves(stack)


def account(url: str) -> Client:
    client = Client(url)
    email = f"{uuid.uuid4()}@example.com"
    answer = client.post("/api/auth/register", json={"email": email, "password": PASSWORD})
    answer.raise_for_status()
    return client


def is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def both_report_themselves(stack: Stack) -> None:
    """Wait until both pool processes have."""
    with closing(stack.client()) as client:
        until(
            lambda: slots(client) == 2 * SLOTS, READY_WITHIN, "both pool processes have reported themselves"
        )


def slots(client: Client) -> int:
    """What the living pool processes have room for."""
    workers = client.get("/api/workers").json()["items"]
    return int(next(worker["slots"] for worker in workers if worker["id"] == "echo"))


def pauses(reader: Reader) -> list[float]:
    """Seconds between each hand-over and the start elsewhere."""
    moments = [
        (event.type, datetime.fromisoformat(event.data["at"]).timestamp())
        for event in reader.events
        if event.type in ("run.retried", "run.started")
    ]
    return [later - earlier for (kind, earlier), (_, later) in pairwise(moments) if kind == "run.retried"]
