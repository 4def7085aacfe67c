"""Rate: runs of one delta, from clients that each ask again as soon as they have it."""

from __future__ import annotations

import asyncio
import time

from bench.figures import Figures, quantile
from bench.measure import Measure
from bench.measures import floors
from bench.system import System, TimedRun, spending

_CLIENTS = 20
_RUNS = 300


class Rate(Measure):
    """How many runs a second, what each costs, and how long its acceptance takes."""

    name = "rate"
    compared = True
    what = f"runs of one delta, {_CLIENTS} clients"
    targets = ("≥ 220", "≤ 8", "≤ 40")
    """Of the rate, of the CPU per run, and of the slowest acceptances."""

    async def round(self, system: System, figures: Figures) -> None:
        left = iter(range(_RUNS))
        timed: list[TimedRun] = []

        async def client(index: int) -> None:
            for _ in left:
                timed.append(await system.stream_run(index, 1, 0))

        began = time.perf_counter()
        with spending(system) as spent:
            await asyncio.gather(*(client(index) for index in range(_CLIENTS)))
            took = time.perf_counter() - began
        if wrong := sum(len(run.deltas) != 1 for run in timed):
            raise RuntimeError(f"{wrong} of {_RUNS} runs had more or less than their one delta")
        figures.add(
            self.what, "runs/s", _RUNS / took,
            samples=_RUNS, target=self.targets[0], floors=(floors.CELERY_RATE,),
            is_prototype=system.is_prototype,
        )  # fmt: skip
        self._note_cpu(figures, "all processes", spent.cpu, self.targets[1], system.is_prototype)
        for part, used in spent.parts.items():
            self._note_cpu(figures, part, used, "", system.is_prototype)
        for share, target in ((0.5, ""), (0.99, self.targets[2])):
            accepted = quantile((run.accepted_at - run.asked_at for run in timed), share)
            figures.add(
                f"{self.what}, request answered, p{share * 100:.0f}", "ms", accepted * 1000,
                samples=_RUNS, target=target, is_prototype=system.is_prototype,
            )  # fmt: skip

    def _note_cpu(self, figures: Figures, whose: str, used: float, target: str, is_prototype: bool) -> None:
        figures.add(
            f"{self.what}, CPU per run, {whose}", "ms", used / _RUNS * 1000,
            samples=_RUNS, target=target, is_prototype=is_prototype,
        )  # fmt: skip
