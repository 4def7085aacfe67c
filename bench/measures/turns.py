"""Workers by turns, on one system: each meets the same machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from bench.branchline import Branchline
from bench.figures import quantile


async def starts(
    system: Branchline, workers: Iterable[str], runs: int, pause: float = 0.0
) -> dict[str, float]:
    """Seconds from the request to the first delta, of each worker: the median of so many runs.

    ``pause`` in seconds before each run, in which what the next one needs may be made ready.
    """
    found: dict[str, list[float]] = {worker: [] for worker in workers}
    for number in range(runs):
        for worker, of_worker in found.items():
            await asyncio.sleep(pause)
            timed = await system.stream_run_at(system.inputs[number % 10], 1, 0, worker)
            of_worker.append(timed.start)
    return {worker: quantile(of_worker, 0.5) for worker, of_worker in found.items()}
