"""Start by what a worker imports: numpy with its fork and without, and an environment of its own."""

from __future__ import annotations

from bench.branchline import Branchline
from bench.figures import Figures
from bench.measure import Measure
from bench.measures import turns
from bench.system import System
from bench.variants import NUMPY, OWN, PLAIN, THREADS

_RUNS = 3
_PAUSE = 0.4
"""Seconds before each run, in which the next interpreter imports its worker."""
_MEANINGS = {
    PLAIN: "a worker that imports nothing",
    NUMPY: "one that imports numpy",
    THREADS: "one whose numpy starts threads",
    OWN: "one with an environment of its own",
}


class Imports(Measure):
    """By turns, on one system: each meets the same machine."""

    name = "imports"

    async def round(self, system: System, figures: Figures) -> None:
        if not isinstance(system, Branchline):
            return
        answer = (await system.client.request("GET", "/api/workers")).json()["items"]
        there = {worker["id"] for worker in answer}
        medians = await turns.starts(
            system, [worker for worker in _MEANINGS if worker in there], _RUNS, _PAUSE
        )
        for worker, seconds in medians.items():
            what = f"start of {_MEANINGS[worker]}, with pauses, p50"
            figures.add(what, "ms", seconds * 1000, samples=_RUNS)
