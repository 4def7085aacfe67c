"""Loops: sessions that go on by themselves, beside plain runs."""

from __future__ import annotations

import asyncio
import itertools
import time
from datetime import datetime
from typing import Any

from bench.branchline import Branchline
from bench.figures import Figures, quantile
from bench.measure import Measure
from bench.system import System

_TURNS = 60
"""Of the session that has the system for itself."""
_TURNS_OF_EACH = 2
"""Of many sessions at once."""
_RUNS = 300
"""Plain runs, beside these."""
_CLIENTS = 20
_ASK = {"messages": [{"role": "user", "content": "Go"}]}


class Loops(Measure):
    """From the end of a turn to the next one, and how many turns a second many sessions take."""

    def __init__(self, name: str = "loops", sessions: int = 400, waiting: int = 0) -> None:
        """``sessions`` at once; ``waiting``: tasks of the outbox that are not due meanwhile."""
        self.name = name
        self._sessions = sessions
        self._waiting = waiting
        self._threads: list[str] = []

    async def prepare(self, branchline: Branchline) -> None:
        branchline.put_off(self._waiting)
        left = iter(range(self._sessions))

        async def make() -> None:
            for _ in left:
                self._threads.append(await _thread(branchline, _TURNS_OF_EACH))

        await asyncio.gather(*(make() for _ in range(_CLIENTS)))

    async def round(self, system: System, figures: Figures) -> None:
        assert isinstance(system, Branchline)
        thread = await _thread(system, _TURNS)
        await system.client.request("POST", f"/api/threads/{thread}/session/messages", _ASK)
        await _stopped(system, thread)
        pauses = await _pauses(system, thread)
        for share in (0.5, 0.99):
            figures.add(
                f"from the end of a turn to the next one, p{share * 100:.0f}", "ms",
                quantile(pauses, share), samples=len(pauses), target="≤ 4" if share == 0.5 else "",
            )  # fmt: skip
        before = system.cpu_by_part()
        turns = await _turns_per_second(system, self._threads)
        between = system.cpu_by_part()
        runs = await _runs_per_second(system)
        after = system.cpu_by_part()
        figures.add(
            f"turns a second of {self._sessions:,} sessions, as a multiple of plain runs", "×", turns / runs,
            samples=self._sessions * _TURNS_OF_EACH, target="≥ 0.8",
        )  # fmt: skip
        samples = self._sessions * _TURNS_OF_EACH
        figures.add(f"turns of {self._sessions:,} sessions", "turns/s", turns, samples=samples)
        for part in ("all processes", "pool", "database"):
            of_turn = _cpu(before, between, part) / samples * 1000
            of_run = _cpu(between, after, part) / _RUNS * 1000
            figures.add(
                f"CPU per turn of {self._sessions:,} sessions, {part}", "ms", of_turn, samples=samples
            )
            figures.add(f"CPU per plain run beside these, {part}", "ms", of_run, samples=_RUNS)


def _cpu(before: dict[str, float], after: dict[str, float], part: str) -> float:
    """Seconds of the processor that a part has used, or all."""
    parts = after if part == "all processes" else (part,)
    return sum(after[one] - before.get(one, 0.0) for one in parts)


async def _thread(system: Branchline, turns: int) -> str:
    """A thread whose session takes so many turns after a message."""
    made = await system.client.request("POST", "/api/threads", {"worker_id": "turn"})
    thread = str(made.json()["thread"]["id"])
    session = {"auto": {"enabled": True}, "limits": {"max_turns": turns}}
    await system.client.request("POST", f"/api/threads/{thread}/session", session)
    return thread


async def _stopped(system: Branchline, thread: str) -> None:
    while True:
        answer = await system.client.request("GET", f"/api/threads/{thread}/session")
        session = answer.json()["session"]
        if session["status"] == "stop":
            if session["stop_reason"]["code"] != "max_turns":
                raise RuntimeError(f"a session has stopped: {session['stop_reason']}")
            return
        await asyncio.sleep(0.05)


async def _pauses(system: Branchline, thread: str) -> list[float]:
    """Milliseconds from the end of each turn to the beginning of the next one."""
    runs: list[dict[str, Any]] = []
    cursor = ""
    while True:
        path = f"/api/runs?thread={thread}&limit=50{f'&cursor={cursor}' if cursor else ''}"
        page = (await system.client.request("GET", path)).json()
        runs += page["items"]
        cursor = page["next"] or ""
        if not cursor:
            break
    runs.sort(key=lambda run: run["turn"])
    if len(runs) != _TURNS:
        raise RuntimeError(f"{len(runs)} turns in place of {_TURNS}")
    return [
        (
            datetime.fromisoformat(after["created_at"]) - datetime.fromisoformat(before["finished_at"])
        ).total_seconds()
        * 1000
        for before, after in itertools.pairwise(runs)
    ]


async def _turns_per_second(system: Branchline, threads: list[str]) -> float:
    waiting = iter(threads)

    async def begin() -> None:
        for thread in waiting:
            await system.client.request("POST", f"/api/threads/{thread}/session/messages", _ASK)

    began = time.perf_counter()
    await asyncio.gather(*(begin() for _ in range(_CLIENTS)))
    for thread in threads:
        await _stopped(system, thread)
    return len(threads) * _TURNS_OF_EACH / (time.perf_counter() - began)


async def _runs_per_second(system: Branchline) -> float:
    left = iter(range(_RUNS))

    async def client(index: int) -> None:
        for _ in left:
            await system.stream_run(index, 1, 0)

    began = time.perf_counter()
    await asyncio.gather(*(client(index) for index in range(_CLIENTS)))
    return _RUNS / (time.perf_counter() - began)
