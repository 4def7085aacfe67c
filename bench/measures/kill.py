"""A death: the pool process is killed while runs are under way."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import orjson

from bench.branchline import Branchline
from bench.client import Connection, Reply
from bench.figures import Figures
from bench.measure import Measure
from bench.system import System
from runtime.testing.sse import Received, Text

_RUNS = 20
_DELTAS, _GAP = 40, 0.05
_KILLED_AFTER = 0.6
"""Seconds from the last run's start."""
_WHAT = f"kill -9 of the pool process, {_RUNS} runs under way"


class Kill(Measure):
    """How long until all of its runs go on, and whether their readers can tell what is void."""

    name = "kill"

    async def round(self, system: System, figures: Figures) -> None:
        assert isinstance(system, Branchline)
        asked = [await system.ask(input_state, _DELTAS, _GAP) for input_state in system.inputs[:_RUNS]]
        streams = [await system.client.begin("GET", f"/api/runs/{run_id}/events") for _, run_id in asked]
        await asyncio.gather(*(_has_begun(reply) for _, reply in streams))
        await asyncio.sleep(_KILLED_AFTER)
        killed_at = time.time()
        os.kill(system.stack.pool_process(), signal.SIGKILL)
        resumed_after = max([await self._outlive(system, stream, killed_at) for stream in streams])
        for (_, run_id), (_, reply) in zip(asked, streams, strict=True):
            await _compare(system, run_id, reply)
        figures.add(f"{_WHAT}: all go on after", "s", resumed_after, samples=_RUNS, target="≤ 15")
        figures.add(f"{_WHAT}: lost, or doubled and not marked as void", "runs", 0, samples=_RUNS, target="0")

    async def _outlive(self, system: Branchline, stream: tuple[Connection, Reply], killed_at: float) -> float:
        """Read to the end; seconds from the death to the first delta of the next attempt."""
        connection, reply = stream
        await system.client.finish(connection, reply)
        for event in reply.events():
            if event.type == "message.delta" and orjson.loads(event.data)["attempt"] > 1:
                return event.at - killed_at
        raise RuntimeError("a run was not begun again: it had ended when the pool process was killed")


async def _has_begun(reply: Reply) -> None:
    async with asyncio.timeout(20):
        while not any(b"message.delta" in piece for _, piece in list(reply.pieces)):
            await asyncio.sleep(0.02)


async def _compare(system: Branchline, run_id: str, reply: Reply) -> None:
    """What a careful client has put together is what is stored, whole, each delta once."""
    text = Text()
    for event in reply.events():
        text.apply(Received(event.type, None, orjson.loads(event.data)))
    stored = (await system.client.request("GET", f"/api/runs/{run_id}/wait?timeout=5")).json()
    [message] = stored["messages"]
    written = message["content"].split(";")[:-1]
    if stored["run"]["status"] != "success" or len(written) != _DELTAS or len(set(written)) != _DELTAS:
        raise RuntimeError(f"a run ended as {stored['run']['status']} with {len(written)} deltas")
    if list(text.messages.values()) != [message["content"]] or not text.void:
        raise RuntimeError("a reader's text is not what is stored, or what is void was not marked")
