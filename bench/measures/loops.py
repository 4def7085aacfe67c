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
_SESSIONS = 400
_TURNS_OF_EACH = 2
_RUNS = 300
"""Plain runs, beside these."""
_CLIENTS = 20
_ASK = {"messages": [{"role": "user", "content": "Go"}]}


class Loops(Measure):
    """From the end of a turn to the next one, and how many turns a second many sessions take."""

    name = "loops"

    def __init__(self) -> None:
        self._threads: list[str] = []

    async def prepare(self, branchline: Branchline) -> None:
        left = iter(range(_SESSIONS))

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
        turns = await _turns_per_second(system, self._threads)
        runs = await _runs_per_second(system)
        figures.add(
            f"turns a second of {_SESSIONS} sessions, as a multiple of plain runs", "×", turns / runs,
            samples=_SESSIONS * _TURNS_OF_EACH, target="≥ 0.8",
        )  # fmt: skip
        figures.add(f"turns of {_SESSIONS} sessions", "turns/s", turns, samples=_SESSIONS * _TURNS_OF_EACH)


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
    return _SESSIONS * _TURNS_OF_EACH / (time.perf_counter() - began)


async def _runs_per_second(system: Branchline) -> float:
    left = iter(range(_RUNS))

    async def client(index: int) -> None:
        for _ in left:
            await system.stream_run(index, 1, 0)

    began = time.perf_counter()
    await asyncio.gather(*(client(index) for index in range(_CLIENTS)))
    return _RUNS / (time.perf_counter() - began)
