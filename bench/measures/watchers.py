"""Watchers: many that read the same run."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from bench import processes
from bench.branchline import Branchline, stamps
from bench.client import Connection, Reply
from bench.figures import Figures, quantile
from bench.measure import Measure
from bench.system import System

_RATE = 5
_SECONDS = 3.0
_AT_ONCE = 200
"""Connections that are being opened at the same time."""


class Watchers(Measure):
    """So many streams of one run that says five words a second."""

    def __init__(self, count: int, targets: tuple[str, str]) -> None:
        self.name = f"watchers-{count}"
        self._count = count
        self._targets = targets

    async def round(self, system: System, figures: Figures) -> None:
        assert isinstance(system, Branchline)
        _, run_id = await system.ask(system.inputs[0], 10_000, 1 / _RATE)
        streams: list[tuple[Connection, Reply]] = []
        try:
            began = time.perf_counter()
            streams += await join(system, [f"/api/runs/{run_id}/events"] * self._count)
            joined = time.perf_counter() - began
            reads, used, since = system.log_reads(), processes.cpu(system.web_processes()), time.time()
            await asyncio.sleep(_SECONDS)
            reads, used = system.log_reads() - reads, processes.cpu(system.web_processes()) - used
            await asyncio.sleep(0.5)  # what was written last may still be on its way
        finally:
            for connection, _ in streams:
                connection.close()
            await system.cancel(run_id)
        self._note(figures, [reply for _, reply in streams], since, joined, reads, used)

    def _note(
        self, figures: Figures, replies: list[Reply], since: float, joined: float, reads: int, used: float
    ) -> None:
        what = f"{self._count:,} watchers of one run"
        came = [_deltas(reply, since) for reply in replies]
        written = sorted({moment for deltas in came for moment, _ in deltas})
        for deltas in came:
            if Counter(moment for moment, _ in deltas) != Counter(written):
                raise RuntimeError(f"a watcher got {len(deltas)} of {len(written)} deltas")
        took = [read - moment for deltas in came for moment, read in deltas]
        for share, target in zip((0.5, 0.99), self._targets, strict=True):
            figures.add(
                f"{what}, delta p{share * 100:.0f}", "ms", quantile(took, share) * 1000,
                samples=len(took), target=target,
            )  # fmt: skip
        figures.add(f"{what}, all joined after", "s", joined, samples=self._count, target="≤ 5")
        figures.add(
            f"{what}, reads of Redis per delta", "", reads / len(written), samples=len(written), target="≤ 1"
        )
        figures.add(
            f"{what}, CPU of web per 1,000 deliveries", "s", used / len(took) * 1000, samples=len(took)
        )


async def join(system: Branchline, paths: list[str]) -> list[tuple[Connection, Reply]]:
    """Open these streams; returns when the last one has begun. Where one is refused, none stays open."""
    free = asyncio.Semaphore(_AT_ONCE)
    opened: list[tuple[Connection, Reply]] = []

    async def watch(path: str) -> None:
        async with free:
            connection, reply = await system.client.begin("GET", path)
            opened.append((connection, reply))
            async with asyncio.timeout(30):
                await reply.begun
            if reply.status != 200:
                raise RuntimeError(f"{path}: {reply.status} {reply.body().decode()}")

    try:
        async with asyncio.TaskGroup() as together:
            for path in paths:
                together.create_task(watch(path))
    except ExceptionGroup as failed:
        for connection, _ in opened:
            connection.close()
        raise failed.exceptions[0] from None
    return opened


def _deltas(reply: Reply, since: float) -> list[tuple[float, float]]:
    """What was written from ``since`` on, for as long as we listened."""
    until = since + _SECONDS
    found: list[tuple[float, float]] = []
    for event in reply.events():
        if event.type == "message.delta" and event.at >= since:
            found += [stamp for stamp in stamps(event.data, event.at) if since <= stamp[0] < until]
    return found


class Streams(Measure):
    """Streams on which nothing happens: what each keeps in memory. They stay open over the rounds."""

    name = "streams"
    _MORE = 2000

    def __init__(self) -> None:
        self._open: list[tuple[Connection, Reply]] = []

    async def round(self, system: System, figures: Figures) -> None:
        assert isinstance(system, Branchline)
        before = processes.pss(system.web_processes())
        paths = [f"/api/threads/{input_state.thread_id}/events" for input_state in system.inputs]
        began = time.perf_counter()
        self._open += await join(system, (paths * (self._MORE // len(paths) + 1))[: self._MORE])
        took = time.perf_counter() - began
        grown = processes.pss(system.web_processes()) - before
        figures.add(
            "open stream, memory of web", "KB", grown / self._MORE / 1000, samples=self._MORE, target="≤ 25"
        )
        figures.add("streams opened", "per s", self._MORE / took, samples=self._MORE)

    async def clear(self) -> None:
        for connection, _ in self._open:
            connection.close()
        self._open.clear()
