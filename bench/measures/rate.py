"""Rate: runs of one delta, from clients that each ask again as soon as they have it."""

from __future__ import annotations

import asyncio
import time

from bench.figures import Figures, quantile
from bench.measure import Measure
from bench.measures import floors
from bench.system import System, Talk, spending

_CLIENTS = 20
_RUNS = 600
_WHAT = f"runs of one delta, {_CLIENTS} clients"


class Rate(Measure):
    """How many runs a second, what each costs, and how long its acceptance takes."""

    name = "rate"
    compared = True

    async def round(self, system: System, figures: Figures) -> None:
        left = iter(range(_RUNS))
        talks: list[Talk] = []

        async def client(place: int) -> None:
            for _ in left:
                talks.append(await system.talk(place, 1, 0))

        began = time.perf_counter()
        with spending(system) as spent:
            await asyncio.gather(*(client(place) for place in range(_CLIENTS)))
            took = time.perf_counter() - began
        figures.add(
            _WHAT, "runs/s", _RUNS / took,
            samples=_RUNS, target="≥ 220", floors=(floors.CELERY_RATE,), beside=system.beside,
        )  # fmt: skip
        figures.add(
            f"{_WHAT}, CPU per run, all processes", "ms", spent.cpu / _RUNS * 1000,
            samples=_RUNS, target="≤ 8", beside=system.beside,
        )  # fmt: skip
        for share, target in ((0.5, ""), (0.99, "≤ 40")):
            accepted = quantile((talk.accepted_at - talk.asked_at for talk in talks), share)
            figures.add(
                f"{_WHAT}, request answered, p{share * 100:.0f}", "ms", accepted * 1000,
                samples=_RUNS, target=target, beside=system.beside,
            )  # fmt: skip
