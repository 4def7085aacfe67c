"""Branchline itself, measured: all of its processes, a Redis and a database of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis

from bench import database, processes
from bench.client import Client, Reply
from bench.system import Talk
from tests.support.redis_server import RedisServer
from tests.support.stack import CHECKOUT, Stack

PLACES = 100
"""Threads that are made before anything is measured."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a run goes on: a state of a thread."""

    thread_id: str
    state_id: str


class Branchline:
    """A stack that runs, and one account on it."""

    beside = False

    def __init__(self, stack: Stack, redis_url: str, postgresql: psycopg.Connection[Any] | None) -> None:
        self.stack = stack
        self.spots: list[Spot] = []
        self._redis_url = redis_url
        self._postgresql = postgresql
        with closing(stack.client()) as account:
            token = account.post("/api/tokens", json={"name": "bench"}).json()["token"]["secret"]
        self.client = Client(stack.port, Authorization=f"Bearer {token}")

    async def prepare(self) -> None:
        """Make the threads."""
        for _ in range(PLACES):
            made = (await self.client.request("POST", "/api/threads", {})).json()
            self.spots.append(Spot(made["thread"]["id"], made["root_state"]["id"]))

    async def ask(self, spot: Spot, n: int, gap: float) -> tuple[Reply, str]:
        """Ask for a run: the answer as it came, and the run's id."""
        reply = await self.client.request(
            "POST",
            f"/api/threads/{spot.thread_id}/runs",
            {
                "input_state_id": spot.state_id,
                "messages": [{"role": "user", "content": "What time is it?"}],
                "worker_id": "stamp",
                "args": {"n": n, "gap": gap},
            },
        )
        return reply, reply.json()["runs"][0]["id"]

    async def talk(self, place: int, n: int, gap: float) -> Talk:
        """Ask for a run, then read its stream."""
        return await self.talk_at(self.spots[place], n, gap)

    async def talk_at(self, spot: Spot, n: int, gap: float) -> Talk:
        """The same at any state."""
        asked, run_id = await self.ask(spot, n, gap)
        connection, told = await self.client.begin("GET", f"/api/runs/{run_id}/events")
        await self.client.finish(connection, told)
        return _talk(asked, told, run_id)

    async def talk_on_open_stream(self, place: int, n: int, gap: float) -> Talk:
        """Ask for a run while the thread's stream is being read, as a chat does."""
        spot = self.spots[place]
        path = f"/api/threads/{spot.thread_id}/events"
        connection, told = await self.client.begin("GET", path, until=b"event: run.completed")
        await told.begun
        asked, run_id = await self.ask(spot, n, gap)
        await self.client.finish(connection, told, keep=False)
        return _talk(asked, told, run_id)

    async def cancel(self, run_id: str) -> None:
        """End a run."""
        await self.client.request("POST", f"/api/runs/{run_id}/cancel", {"wait": True})

    def cpu(self) -> float:
        """CPU seconds of all processes, of Redis, and of the database's own for us."""
        mine = [*self.processes(), processes.of_redis(self._redis_url)]
        if self._postgresql is not None:
            mine += database.backends(self._postgresql)
        return processes.cpu(mine)

    def processes(self) -> set[int]:
        """Web, pool, reaper, and all that they have started."""
        return processes.tree(*(process.pid for process in self.stack.processes.values()))

    def web_processes(self) -> set[int]:
        """Those that serve the API and the streams."""
        return processes.tree(self.stack.processes["web"].pid)

    def pool_memory(self) -> int:
        """Bytes that the process has in memory which supervises the children."""
        return processes.resident(self.stack.pool_process())

    def log_reads(self) -> int:
        """How often an event log was read in Redis, since its start."""
        with redis.Redis.from_url(self._redis_url) as client:
            return int(client.info("commandstats").get("cmdstat_xrange", {"calls": 0})["calls"])


def _talk(asked: Reply, told: Reply, run_id: str) -> Talk:
    deltas: list[tuple[float, float]] = []
    mine = run_id.encode()
    for event in told.events():
        if event.type == "message.delta" and mine in event.data:
            deltas += stamps(event.data, event.at)
    return Talk(asked.sent_at, asked.pieces[-1][0], told.pieces[-1][0], deltas)


def stamps(data: bytes, at: float) -> list[tuple[float, float]]:
    """When each delta that an event joins was written, and when it was read."""
    text = data.rpartition(b'"text":"')[2].partition(b'"')[0]
    return [(float(stamp), at) for stamp in text.split(b";")[:-1]]


@contextmanager
def running(folder: Path, server: str | None) -> Iterator[Branchline]:
    """A stack of our own while the ``with`` lasts.

    ``server``: a PostgreSQL where databases may be made; None: SQLite.
    """
    folder.mkdir()
    with ExitStack() as cleanup:
        redis_server = RedisServer(folder)
        cleanup.callback(redis_server.kill)
        redis_server.start()
        url, connection = f"sqlite:///{folder}/bench.db", None
        if server:
            url = cleanup.enter_context(database.fresh(server))
            connection = cleanup.enter_context(psycopg.connect(url, autocommit=True))
        workers = str(CHECKOUT / "bench" / "workers")
        stack = Stack(folder, url, redis_server.url, ("python",), WORKERS_PATH=workers)
        yield Branchline(cleanup.enter_context(stack), redis_server.url, connection)
