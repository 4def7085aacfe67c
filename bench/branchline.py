"""Branchline itself, measured: all of its processes, a Redis and a database of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis

from bench import database, processes, variants
from bench.client import Client, Reply
from bench.stamp_service import StampService
from bench.system import TimedRun
from runtime.testing.ports import free_port
from runtime.testing.postgresql_server import temporary_database
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import READY_WITHIN, Stack

THREADS = 100
"""Threads that are made before anything is measured."""
SLOTS = 100
"""Of a pool process, by default."""
_QUESTION = "What time is it?"
_TASKS = """
INSERT INTO outbox (kind, key, payload, due_at, tries, created_at)
SELECT 'turn_changed', 'later ' || n, '{}', now() + interval '1 day', 0, now() FROM generate_series(1, %s) n
"""


@dataclass(frozen=True, slots=True)
class InputState:
    """The state of a thread that a run is asked for at."""

    thread_id: str
    state_id: str


class Branchline:
    """A stack that runs, and one account on it."""

    is_prototype = False
    client: Client
    """Of the first web process."""
    clients: list[Client]
    """One for each web process. A run is asked for at one of them, and read from the next."""

    def __init__(self, stack: Stack, redis_url: str, postgresql: psycopg.Connection[Any] | None) -> None:
        self.stack = stack
        self.database_url = stack.environ["DATABASE_URL"]
        self.inputs: list[InputState] = []
        self._redis_url = redis_url
        self._postgresql = postgresql
        with closing(stack.client()) as account:
            token = account.post("/api/tokens", json={"name": "bench"}).json()["token"]["secret"]
        self._credentials = {"Authorization": f"Bearer {token}"}
        self.client = Client(stack.port, **self._credentials)
        self.clients = [self.client]

    async def prepare(self) -> None:
        """Make the threads."""
        for _ in range(THREADS):
            made = (await self.client.request("POST", "/api/threads", {})).json()
            self.inputs.append(InputState(made["thread"]["id"], made["root_state"]["id"]))

    def put_off(self, tasks: int) -> None:
        """Have so many tasks wait in the outbox for another day, where PostgreSQL is measured."""
        if self._postgresql is not None and tasks:
            self._postgresql.execute(_TASKS, [tasks])
            self._postgresql.execute("ANALYZE outbox")

    async def widen(self, webs: int, pools: int) -> None:
        """Start more processes, until there are so many web and so many pool processes."""
        for number in range(len(self.clients), webs):
            port = free_port()
            self.stack.start("web", f"web {number + 1}", PORT=str(port))
            self.clients.append(Client(port, **self._credentials))
        had = await self.slots()
        for number in range(1, pools):
            self.stack.start("pool python", f"pool python {number + 1}")
        await self.reaches(had + (pools - 1) * SLOTS)
        for client in self.clients:
            await self._answers(client)

    async def slots(self) -> int:
        """How many runs at once the living pool processes can execute."""
        found = (await self.client.request("GET", "/api/workers/stamp")).json()["worker"]
        return int(found["slots"])

    async def reaches(self, slots: int) -> None:
        """Wait until the living pool processes have so many slots."""
        async with asyncio.timeout(READY_WITHIN):
            while await self.slots() < slots:
                await asyncio.sleep(0.1)

    async def _answers(self, client: Client) -> None:
        async with asyncio.timeout(READY_WITHIN):
            while True:
                try:
                    await client.request("GET", "/readyz")
                    return
                except (OSError, RuntimeError):
                    await asyncio.sleep(0.1)

    async def ask(
        self,
        input_state: InputState,
        n: int,
        gap: float,
        *,
        text: str = _QUESTION,
        worker: str = "stamp",
        client: Client | None = None,
    ) -> tuple[Reply, str]:
        """Ask for a run: the answer as it came, and the run's id."""
        reply = await (client or self.client).request(
            "POST", *_run_request(input_state, n, gap, text, worker)
        )
        return reply, reply.json()["runs"][0]["id"]

    async def stream_run(self, index: int, n: int, gap: float) -> TimedRun:
        """Ask for a run and read it: in one request, or from another web process where there is one."""
        input_state = self.inputs[index]
        if len(self.clients) == 1:
            return await self.stream_run_at(input_state, n, gap)
        asked_at, read_at = (self.clients[(index + step) % len(self.clients)] for step in (0, 1))
        asked, run_id = await self.ask(input_state, n, gap, client=asked_at)
        connection, stream = await read_at.begin("GET", f"/api/runs/{run_id}/events")
        await read_at.finish(connection, stream)
        return _timed_run(asked, stream, run_id)

    async def stream_run_at(
        self, input_state: InputState, n: int, gap: float, worker: str = "stamp"
    ) -> TimedRun:
        """Ask for a run at any state, answered with its stream."""
        request = _run_request(input_state, n, gap, worker=worker)
        connection, reply = await self.client.begin("POST", *request, Accept="text/event-stream")
        await self.client.finish(connection, reply)
        return _timed_run(reply, reply, reply.headers["location"].rpartition("/")[2])

    async def stream_run_to_open_thread(self, index: int, n: int, gap: float) -> TimedRun:
        """Ask for a run while the thread's stream is being read, as a chat does."""
        input_state = self.inputs[index]
        path = f"/api/threads/{input_state.thread_id}/events"
        connection, stream = await self.client.begin("GET", path, until=b"event: run.completed")
        await stream.begun
        asked, run_id = await self.ask(input_state, n, gap)
        await self.client.finish(connection, stream, keep=False)
        return _timed_run(asked, stream, run_id)

    async def cancel(self, run_id: str) -> None:
        """End a run."""
        await self.client.request("POST", f"/api/runs/{run_id}/cancel", {"wait": True})

    def cpu(self) -> float:
        """CPU seconds of all parts."""
        return sum(self.cpu_by_part().values())

    def cpu_by_part(self) -> dict[str, float]:
        """CPU seconds of each part: web, pool, children, reaper, Redis, and the database's own for us."""
        webs, pools, reapers, children = set[int](), set[int](), set[int](), set[int]()
        for key, process in self.stack.processes.items():
            found = processes.tree(process.pid)
            if key.startswith("pool"):
                # The guardian and the pool process; the rest are hosts and what they have forked.
                own = {process.pid, *processes.children(process.pid)}
                pools |= own
                children |= found - own
            else:
                (webs if key.startswith("web") else reapers).update(found)
        parts = {"web": webs, "pool": pools, "hosts and children": children, "reaper": reapers}
        parts["Redis"] = {processes.of_redis(self._redis_url)}
        if self._postgresql is not None:
            parts["database"] = set(database.backends(self._postgresql))
        used = {part: processes.cpu(pids) for part, pids in parts.items()}
        ended = processes.cpu_of_children(pools)  # hosts that were replaced
        return {
            **used,
            "pool": used["pool"] - ended,
            "hosts and children": used["hosts and children"] + ended,
        }

    def processes(self) -> set[int]:
        """Web, pool, reaper, and all that they have started."""
        return processes.tree(*(process.pid for process in self.stack.processes.values()))

    def web_processes(self) -> set[int]:
        """Those that serve the API and the streams."""
        return processes.tree(self.stack.processes["web"].pid)

    def pool_memory(self) -> int:
        """Bytes that the process has in memory which supervises the children."""
        return processes.resident(self.stack.pool_process())

    def stored(self) -> dict[str, int]:
        """Bytes that the database holds once what is void has been cleared away, and that Redis holds."""
        with redis.Redis.from_url(self._redis_url) as client:
            in_redis = int(client.info("memory")["used_memory_dataset"])
        if self._postgresql is None:
            return {"Redis": in_redis}
        self._postgresql.execute("VACUUM FULL")
        row = self._postgresql.execute("SELECT pg_database_size(current_database())").fetchone()
        return {"database": int(row[0]) if row else 0, "Redis": in_redis}

    def log_reads(self) -> int:
        """How often an event log was read in Redis, since its start."""
        with redis.Redis.from_url(self._redis_url) as client:
            return int(client.info("commandstats").get("cmdstat_xrange", {"calls": 0})["calls"])


def _run_request(
    input_state: InputState, n: int, gap: float, text: str = _QUESTION, worker: str = "stamp"
) -> tuple[str, dict[str, Any]]:
    """The path and the body of the request for a run."""
    return f"/api/threads/{input_state.thread_id}/runs", {
        "input_state_id": input_state.state_id,
        "messages": [{"role": "user", "content": text}],
        "worker_id": worker,
        "args": {"n": n, "gap": gap},
    }


def _timed_run(asked: Reply, stream: Reply, run_id: str) -> TimedRun:
    deltas: list[tuple[float, float]] = []
    mine = run_id.encode()
    for event in stream.events():
        if event.type == "message.delta" and mine in event.data:
            deltas += stamps(event.data, event.at)
    return TimedRun(asked.sent_at, asked.pieces[0][0], stream.pieces[-1][0], deltas)


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
        redis_server = cleanup.enter_context(RedisServer(folder))
        url, connection = f"sqlite:///{folder}/bench.db", None
        if server:
            url = cleanup.enter_context(temporary_database(server))
            connection = cleanup.enter_context(psycopg.connect(url, autocommit=True))
        service = cleanup.enter_context(StampService())
        workers = f"{variants.WORKERS}:{variants.write(folder / 'workers', service.url)}"
        agents = "rag=stamp"
        stack = Stack(folder, url, redis_server.url, ("python",), WORKERS_PATH=workers, PANEL_AGENTS=agents)
        yield Branchline(cleanup.enter_context(stack), redis_server.url, connection)
