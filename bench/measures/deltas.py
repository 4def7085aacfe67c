"""Deltas: from the child's write to the client's read, and what each costs."""

from __future__ import annotations

import asyncio

from bench.figures import Figures, quantile
from bench.measure import Measure
from bench.measures import floors
from bench.system import System, spending, watching


class Deltas(Measure):
    """So many runs at once, each saying so much a second."""

    compared = True

    def __init__(
        self, runs: int, rate: int, seconds: float, targets: tuple[str, str], cpu_target: str = ""
    ) -> None:
        self.name = f"deltas-{runs}x{rate}"
        self._runs, self._rate, self._each = runs, rate, round(rate * seconds)
        self._targets, self._cpu_target = targets, cpu_target

    async def round(self, system: System, figures: Figures) -> None:
        with spending(system) as spent:
            gap = 1 / self._rate
            timed = await asyncio.gather(
                *(system.stream_run(index, self._each, gap) for index in range(self._runs))
            )
        took = [latency for run in timed for latency in run.latencies]
        if len(took) != self._runs * self._each:
            raise RuntimeError(f"{len(took)} of {self._runs * self._each} deltas came")
        what = f"delta, {self._runs} × {self._rate}/s"
        for share, target in zip((0.5, 0.99), self._targets, strict=True):
            figures.add(
                f"{what}, p{share * 100:.0f}", "ms", quantile(took, share) * 1000,
                samples=len(took), target=target, floors=(floors.APPEND,), is_prototype=system.is_prototype,
            )  # fmt: skip
        if self._runs > 1:
            begun = max(run.deltas[0][1] for run in timed)
            later = [read - written for run in timed for written, read in run.deltas if written > begun]
            figures.add(
                f"{what}, p99 once all have begun", "ms", quantile(later, 0.99) * 1000,
                samples=len(later), target=self._targets[1], is_prototype=system.is_prototype,
            )  # fmt: skip
        figures.add(
            f"{what}, CPU per 1,000 deltas", "s", spent.cpu / len(took) * 1000,
            samples=len(took), target=self._cpu_target, is_prototype=system.is_prototype,
        )  # fmt: skip
        if self._cpu_target:
            for part, used in spent.parts.items():
                figures.add(
                    f"{what}, CPU per 1,000 deltas, {part}", "s", used / len(took) * 1000,
                    samples=len(took), is_prototype=system.is_prototype,
                )  # fmt: skip


class Flood(Measure):
    """Ten runs that say all they can."""

    name = "flood"
    compared = True
    _RUNS, _EACH = 10, 20_000

    async def round(self, system: System, figures: Figures) -> None:
        with watching(system.pool_memory) as memory:
            timed = await asyncio.gather(
                *(system.stream_run(index, self._EACH, 0) for index in range(self._RUNS))
            )
        came = sum(len(run.deltas) for run in timed)
        if came != self._RUNS * self._EACH:
            raise RuntimeError(f"{came} of {self._RUNS * self._EACH} deltas came")
        took = max(run.ended_at for run in timed) - min(run.asked_at for run in timed)
        figures.add(
            "10 runs flooding", "deltas/s", came / took,
            samples=came, target="≥ 200,000", is_prototype=system.is_prototype,
        )  # fmt: skip
        figures.add(
            "10 runs flooding, growth of the pool process", "MB", (memory.most - memory.before) / 1e6,
            target="flat", is_prototype=system.is_prototype,
        )  # fmt: skip
