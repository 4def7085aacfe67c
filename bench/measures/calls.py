"""Sub-runs: what a worker waits for another one, beside what a client waits for a run."""

from __future__ import annotations

import time

from bench.branchline import Branchline
from bench.figures import Figures, quantile
from bench.measure import Measure
from bench.system import System

_RUNS = 90


class Calls(Measure):
    """One call after the other, and one run after the other, on a system that has nothing else to do."""

    name = "calls"

    async def round(self, system: System, figures: Figures) -> None:
        assert isinstance(system, Branchline)
        _, run_id = await system.ask(system.inputs[0], 1, 0, worker="calls")
        reply = await system.client.request("GET", f"/api/runs/{run_id}/wait?timeout=20")
        [message] = reply.json()["messages"]
        called = [float(one) for one in message["content"].split(";")]
        asked = []
        for number in range(_RUNS):
            began = time.perf_counter()
            await system.stream_run_at(system.inputs[number % 10], 1, 0, "brief")
            asked.append((time.perf_counter() - began) * 1000)
        for what, taken in (
            ("a sub-run, from its call to its result", called),
            ("a run, to its end", asked),
        ):
            for share in (0.5, 0.99):
                figures.add(f"{what}, p{share * 100:.0f}", "ms", quantile(taken, share), samples=len(taken))
