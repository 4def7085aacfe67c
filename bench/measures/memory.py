"""Memory: what the processes hold while nothing happens, and what a running child adds."""

from __future__ import annotations

import asyncio

from bench import processes
from bench.branchline import Branchline
from bench.figures import Figures
from bench.measure import Measure
from bench.system import System, spending

_CHILDREN = 20
_IDLE = 3.0
"""Seconds in which nothing is asked of it."""


class Memory(Measure):
    """Each page of memory counts once, divided among the processes that share it (PSS)."""

    name = "memory"

    async def round(self, system: System, figures: Figures) -> None:
        assert isinstance(system, Branchline)
        idle = system.processes()
        before = processes.pss(idle)
        figures.add("web + pool of 100 slots + reaper, idle, memory", "MB", before / 1e6, target="≤ 350")
        with spending(system) as spent:
            await asyncio.sleep(_IDLE)
        figures.add("web + pool of 100 slots + reaper, idle, CPU per second", "ms", spent.cpu / _IDLE * 1000)
        run_ids = [(await system.ask(spot, 1000, 0.5))[1] for spot in system.spots[:_CHILDREN]]
        try:
            async with asyncio.timeout(20):
                while len(system.processes() - idle) < _CHILDREN:
                    await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)  # until they have settled down to their work
            grown = processes.pss(system.processes()) - before
        finally:
            await asyncio.gather(*map(system.cancel, run_ids))
        figures.add(
            "each running child, memory, in all processes", "MB", grown / _CHILDREN / 1e6,
            samples=_CHILDREN, target="≤ 10",
        )  # fmt: skip
