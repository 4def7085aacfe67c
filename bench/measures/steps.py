"""Durable steps: what a worker waits for the commit of one."""

from __future__ import annotations

from bench.branchline import Branchline
from bench.figures import Figures, quantile
from bench.measure import Measure
from bench.system import System


class Steps(Measure):
    """One step after the other, on a system that has nothing else to do."""

    name = "steps"

    async def round(self, system: System, figures: Figures) -> None:
        assert isinstance(system, Branchline)
        _, run_id = await system.ask(system.inputs[0], 1, 0, worker="steps")
        reply = await system.client.request("GET", f"/api/runs/{run_id}/wait?timeout=20")
        [message] = reply.json()["messages"]
        taken = [float(one) for one in message["content"].split(";")]
        for share in (0.5, 0.99):
            figures.add(
                f"a durable step, p{share * 100:.0f}", "ms", quantile(taken, share), samples=len(taken)
            )
