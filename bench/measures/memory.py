"""Memory: what the processes hold while nothing happens, and what a running child adds."""

from __future__ import annotations

import asyncio

from bench import processes
from bench.branchline import Branchline
from bench.figures import Figures
from bench.measure import Measure
from bench.system import System
from runtime.testing.stack import Process

_CHILDREN = 20
_IDLE = 1.0
"""Seconds in which nothing is asked of it."""
_FEW, _MANY = 100, 1000
"""Slots."""


class Memory(Measure):
    """Each page of memory counts once, divided among the processes that share it (PSS)."""

    name = "memory"

    async def round(self, system: System, figures: Figures) -> None:
        assert isinstance(system, Branchline)
        idle = system.processes()
        before = processes.pss(idle)
        figures.add("web + pool of 100 slots + reaper, idle, memory", "MB", before / 1e6, target="≤ 350")
        used = system.cpu()
        await asyncio.sleep(_IDLE)
        used = (system.cpu() - used) / _IDLE
        figures.add("web + pool of 100 slots + reaper, idle, CPU per second", "ms", used * 1000)
        run_ids = [(await system.ask(input_state, 1000, 0.5))[1] for input_state in system.inputs[:_CHILDREN]]
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


class Slots(Measure):
    """What a slot more costs a pool process: one with many, beside one with few."""

    name = "slots"

    def __init__(self) -> None:
        self._started: list[Process] = []

    async def prepare(self, branchline: Branchline) -> None:
        had = await branchline.slots()
        for number, slots in enumerate((_FEW, _MANY)):
            started = branchline.stack.start(f"pool python --slots {slots}", f"pool of slots {number}")
            self._started.append(started)
        await branchline.reaches(had + _FEW + _MANY)

    async def round(self, system: System, figures: Figures) -> None:
        few, many = (processes.pss(processes.tree(process.pid)) for process in self._started)
        figures.add(
            "each further slot of a pool process, memory", "MB", (many - few) / (_MANY - _FEW) / 1e6,
            samples=_MANY - _FEW, target="≤ 1",
        )  # fmt: skip
        await asyncio.sleep(0.1)

    async def clear(self) -> None:
        for process in self._started:
            process.terminate()
        while any(process.poll() is None for process in self._started):
            await asyncio.sleep(0.05)
