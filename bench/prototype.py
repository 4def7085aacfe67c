"""A prototype given by ``--prototype``, measured beside Branchline with the same client.

It is a folder with the files that are started here, a web process that answers
``POST /run`` with a stream of events whose data has a list of ``texts``, each the
moment of its writing. It needs PostgreSQL, and its packages in this environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import psycopg

from bench import database, processes
from bench.client import Client
from bench.system import TimedRun
from runtime.testing.ports import free_port
from runtime.testing.postgresql_server import temporary_database
from runtime.testing.redis_server import RedisServer
from runtime.testing.waiting import until

_TABLES = (
    "CREATE TABLE runs (id text PRIMARY KEY, tid text, status text, attempt int, "
    "lease timestamptz, args jsonb)",
    "CREATE TABLE msgs (id bigserial PRIMARY KEY, tid text, content text)",
)
_WAITING = """
import os, runpy, signal, sys

def wait(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass

handle = signal.signal
ignored = (signal.SIGCHLD, signal.SIG_IGN)
signal.signal = lambda number, how: handle(number, wait if (number, how) == ignored else how)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Executes a host that ignores the ends of its children as one that waits for them: what they
have used is counted then, which the kernel otherwise forgets."""


class Prototype:
    """The prototype's processes, running."""

    is_prototype = True

    def __init__(
        self, port: int, roots: list[int], redis_pid: int, connection: psycopg.Connection[Any]
    ) -> None:
        self.client = Client(port)
        self._roots = roots
        self._redis_pid = redis_pid
        self._connection = connection

    async def stream_run(self, index: int, n: int, gap: float) -> TimedRun:
        """One request, whose answer is the stream."""
        connection, reply = await self.client.begin("POST", "/run", {"args": {"n": n, "gap": gap}})
        await reply.begun
        accepted_at = reply.pieces[0][0]
        await self.client.finish(connection, reply)
        deltas: list[tuple[float, float]] = []
        for event in reply.events():
            deltas += [(float(text), event.at) for text in orjson.loads(event.data).get("texts", ())]
        return TimedRun(reply.sent_at, accepted_at, reply.pieces[-1][0], deltas)

    def cpu_by_part(self) -> dict[str, float]:
        """CPU seconds of each part, as those of Branchline are named."""
        host, web, pool = self._roots
        parts = {"web": processes.tree(web), "pool": processes.tree(pool)}
        parts |= {"hosts and children": processes.tree(host), "Redis": {self._redis_pid}}
        parts["database"] = set(database.backends(self._connection))
        return {part: processes.cpu(pids) for part, pids in parts.items()}

    def pool_memory(self) -> int:
        """Bytes that the Celery process has in memory."""
        return processes.resident(self._roots[-1])


@contextmanager
def running(source: Path, folder: Path, server: str) -> Iterator[Prototype]:
    """The prototype in ``source``, while the ``with`` lasts; ``server`` is a PostgreSQL."""
    folder.mkdir()
    with RedisServer(folder) as redis, temporary_database(server) as url, ExitStack() as stack:
        connection = stack.enter_context(psycopg.connect(url, autocommit=True))
        for statement in _TABLES:
            connection.execute(statement)
        port = free_port()
        environ = {
            **os.environ,
            "REDIS_PORT": str(redis.port),
            "DB": url,
            "FORKHOST": str(folder / "forkhost"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        roots = [
            stack.enter_context(_process(source, folder, environ, *command))
            for command in (
                ("-c", _WAITING, "forkhost.py", environ["FORKHOST"]),
                ("-m", "gunicorn", "-k", "gevent", "-w", "1", "--worker-connections", "20000",
                 "-b", f"127.0.0.1:{port}", "webapp:app"),
                ("-m", "celery", "-A", "tasks", "worker", "-P", "gevent", "-c", "110",
                 "--without-gossip", "--without-mingle"),
            )
        ]  # fmt: skip
        until(lambda: _serves(port), 30, "the prototype serves")
        yield Prototype(port, roots, processes.of_redis(redis.url), connection)


@contextmanager
def _process(source: Path, folder: Path, environ: dict[str, str], *command: str) -> Iterator[int]:
    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=source,
            env=environ,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _serves(port: int) -> bool:
    """Whether a run goes through; sent early, it waits for the worker."""
    try:
        answer = httpx.post(f"http://127.0.0.1:{port}/run", json={"args": {"n": 1}}, timeout=20)
        return answer.status_code == 200
    except httpx.HTTPError:
        return False
