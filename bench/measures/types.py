"""Start by type: a worker in JavaScript beside the same in Python, by turns on one system."""

from __future__ import annotations

import asyncio
import shutil

from bench.branchline import Branchline
from bench.figures import Figures, quantile
from bench.measure import Measure
from bench.measures import turns
from bench.system import System
from runtime.testing.stack import READY_WITHIN

_RUNS = 15
_IN_A_ROW = 10
_PAUSE = 0.25
"""Seconds between two runs, in which the next process loads its worker."""
_USERS = (2, 4)
"""Runs that are asked for at the same moment."""
_MOMENTS = 6
_PAUSE_BETWEEN = 1.5
"""Seconds between two such moments."""
_POOL = "pool node"
_NODE, _PYTHON = "stamp-node", "stamp"


class Types(Measure):
    """One run after the other, with pauses and without."""

    name = "types"

    async def round(self, system: System, figures: Figures) -> None:
        if not isinstance(system, Branchline) or shutil.which("node") is None:
            return
        process = system.stack.start(_POOL)
        try:
            await _wait_for_pool(system)
            await _by_turns(system, figures)
            await _without_pauses(system, figures)
            for users in _USERS:
                await _at_once(system, figures, users)
        finally:
            process.terminate()
            process.wait()
            del system.stack.processes[_POOL]


async def _wait_for_pool(system: Branchline) -> None:
    async with asyncio.timeout(READY_WITHIN):
        while True:
            found = (await system.client.request("GET", f"/api/workers/{_NODE}")).json()["worker"]
            if found["slots"]:
                return
            await asyncio.sleep(0.1)


async def _by_turns(system: Branchline, figures: Figures) -> None:
    medians = await turns.starts(system, (_PYTHON, _NODE), _RUNS, _PAUSE)
    for worker, seconds in medians.items():
        figures.add(f"start of {worker}, with pauses between, p50", "ms", seconds * 1000, samples=_RUNS)


async def _without_pauses(system: Branchline, figures: Figures) -> None:
    """The next process is not ready yet when the next run comes."""
    found = [
        (await system.stream_run_at(system.inputs[number % 10], 1, 0, _NODE)).start
        for number in range(_IN_A_ROW)
    ]
    value = quantile(found, 0.5) * 1000
    figures.add(f"start of {_NODE}, one after the other, p50", "ms", value, samples=_IN_A_ROW)


async def _at_once(system: Branchline, figures: Figures, users: int) -> None:
    """The slowest of runs that are asked for at once, with a pause before."""
    found = []
    for _ in range(_MOMENTS):
        await asyncio.sleep(_PAUSE_BETWEEN)
        timed = await asyncio.gather(
            *(system.stream_run_at(system.inputs[number], 1, 0, _NODE) for number in range(users))
        )
        found.append(max(run.start for run in timed))
    value = quantile(found, 0.5) * 1000
    figures.add(f"start of {_NODE}, the slowest of {users} at once, p50", "ms", value, samples=_MOMENTS)
