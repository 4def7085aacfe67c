"""Floors: the three parts of a run's way, bare (see :mod:`bench.floors`)."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import redis
from celery import Celery

from bench.client import Client
from bench.figures import Figures, quantile
from bench.floors import entries
from runtime.settings import CHECKOUT
from runtime.testing.ports import free_port
from runtime.testing.redis_server import RedisServer
from runtime.testing.waiting import until

CELERY = "bare Celery no-op, sent → done, p50"
CELERY_BURST = "100 bare Celery no-ops at once, p50"
CELERY_RATE = "bare Celery no-ops, 20 at a time"
APPEND = "bare Redis append + publish → SSE client, p50"
FORK = "bare fork of a process with the SDK, p50"

_NOOPS = 50
_RATE_NOOPS = 300
_ENTRIES = 50
_FORKS = 50


class Floors:
    """The bare parts, running."""

    def __init__(self, folder: Path, cleanup: ExitStack) -> None:
        """They end with ``cleanup``."""
        folder.mkdir()
        self._redis = cleanup.enter_context(RedisServer(folder))
        self._port = free_port()
        self._log = folder / "log"
        environ = {**os.environ, "FLOOR_REDIS": self._redis.url}
        for command in (
            ("celery", "-A", "bench.floors.celery_noop", "worker", "-P", "gevent", "-c", "100",
             "--without-gossip", "--without-mingle"),
            ("bench.floors.sse_server", str(self._port), self._redis.url),
        ):  # fmt: skip
            cleanup.callback(_end, self._start(environ, *command))
        self._client = cleanup.enter_context(redis.Redis.from_url(self._redis.url))
        self._celery = Celery("floor", broker=self._redis.url, set_as_current=False)
        until(self._celery_answers, 30, "the bare Celery worker answers")

    async def round(self, figures: Figures) -> None:
        """Measure each once."""
        singles = await asyncio.to_thread(self._one_by_one)
        figures.add(CELERY, "ms", quantile(singles, 0.5) * 1000, samples=_NOOPS)
        burst = await asyncio.to_thread(self._at_once, 100)
        figures.add(CELERY_BURST, "ms", quantile(burst, 0.5) * 1000, samples=100)
        figures.add(CELERY_RATE, "/s", await asyncio.to_thread(self._rate), samples=_RATE_NOOPS)
        figures.add(APPEND, "ms", quantile(await self._appends(), 0.5) * 1000, samples=_ENTRIES)
        forks = await asyncio.to_thread(self._forks)
        figures.add(FORK, "ms", quantile(forks, 0.5) * 1000, samples=_FORKS)

    def _start(self, environ: dict[str, str], *command: str) -> subprocess.Popen[bytes]:
        with open(self._log, "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=CHECKOUT,
                env=environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _send(self, done_key: str = "done") -> None:
        self._celery.send_task("noop", args=[done_key], queue="floor", ignore_result=True)

    def _celery_answers(self) -> bool:
        self._send("ready")
        return self._client.blpop(["ready"], 5) is not None

    def _one_by_one(self) -> list[float]:
        return [self._timed(self._send) for _ in range(_NOOPS)]

    def _timed(self, send: Callable[[], Any]) -> float:
        began = time.perf_counter()
        send()
        self._client.blpop(["done"], 10)
        return time.perf_counter() - began

    def _at_once(self, count: int) -> list[float]:
        """Seconds from the first sending until each is done."""
        began = time.perf_counter()
        for _ in range(count):
            self._send()
        took = []
        for _ in range(count):
            self._client.blpop(["done"], 10)
            took.append(time.perf_counter() - began)
        return took

    def _rate(self) -> float:
        began = time.perf_counter()
        for _ in range(20):
            self._send()
        for number in range(_RATE_NOOPS):
            self._client.blpop(["done"], 10)
            if number < _RATE_NOOPS - 20:
                self._send()
        return _RATE_NOOPS / (time.perf_counter() - began)

    async def _appends(self) -> list[float]:
        append = self._client.register_script(entries.APPEND)
        client = Client(self._port)
        connection, reply = await client.begin("GET", "/")
        await reply.begun
        await asyncio.sleep(0.2)  # until it has subscribed
        for _ in range(_ENTRIES):
            await asyncio.to_thread(lambda: append(args=[repr(time.time())]))
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        connection.close()
        return [event.at - float(event.data) for event in reply.events()]

    def _forks(self) -> list[float]:
        command = [sys.executable, "-m", "bench.floors.fork", str(_FORKS)]
        done = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, check=True)
        return [float(seconds) for seconds in json.loads(done.stdout)]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
