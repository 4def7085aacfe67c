"""Storage: what a turn leaves behind in the database, and for a day in Redis."""

from __future__ import annotations

import asyncio

from bench.branchline import Branchline
from bench.figures import Figures
from bench.measure import Measure
from bench.system import System

_TURNS = 200
_AT_ONCE = 10
_QUESTION = ("What is stored of a turn is its question, its answer, and what was run for it. " * 3)[:200]
_DELTAS = 11
"""Of 18 letters each: an answer of about 200."""


class Stored(Measure):
    """Turns with a question and an answer of 200 bytes each, whole runs and all indexes included."""

    name = "stored"

    async def round(self, system: System, figures: Figures) -> None:
        assert isinstance(system, Branchline)
        before = system.stored()
        left = iter(range(_TURNS))

        async def client(index: int) -> None:
            for _ in left:
                _, run_id = await system.ask(system.inputs[index], _DELTAS, 0, text=_QUESTION)
                await system.client.request("GET", f"/api/runs/{run_id}/wait?timeout=20")

        await asyncio.gather(*map(client, range(_AT_ONCE)))
        for where, size in system.stored().items():
            target = "≤ 2" if where == "database" else ""
            figures.add(
                f"stored per turn of 200 bytes, {where}", "KB", (size - before[where]) / _TURNS / 1000,
                samples=_TURNS, target=target,
            )  # fmt: skip
