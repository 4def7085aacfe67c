"""History: what it takes to read small and large trees over HTTP, and to go on from them."""

from __future__ import annotations

import gzip
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from bench.branchline import Branchline, InputState
from bench.figures import Figures, quantile
from bench.measure import Measure
from bench.system import System

_DEPTHS = (10, 500, 10_000)
_BRANCHES = 10_000
_STATES = 10_000
_READS = 40
_STARTS = 20
_LETTERS = 200
"""Of each message."""
_RANDOM = random.Random(7)
_WORDS = ["".join(_RANDOM.choices("etaoinshrdlu", k=_RANDOM.randint(2, 9))) for _ in range(2000)]


class History(Measure):
    """The newest ten messages, the shape of a whole tree, and a run at the end of a deep one."""

    name = "history"

    def __init__(self) -> None:
        self._inputs: dict[str, InputState] = {}
        self._tree: InputState

    async def prepare(self, branchline: Branchline) -> None:
        for depth in _DEPTHS:
            chain = [number - 1 for number in range(1, depth + 1)]
            self._inputs[f"depth {depth:,}"] = await _grow(branchline, chain)
        self._inputs[f"{_BRANCHES:,} branches"] = await _grow(branchline, [0, *[1] * _BRANCHES])
        anywhere = [_RANDOM.randrange(number) for number in range(1, _STATES)]
        self._tree = await _grow(branchline, anywhere)

    async def round(self, system: System, figures: Figures) -> None:
        assert isinstance(system, Branchline)
        for name, input_state in self._inputs.items():
            path = f"/api/states/{input_state.state_id}/messages?limit=10"
            took, size = await _read(system, path)
            figures.add(f"newest 10 messages, {name}", "ms", took, samples=_READS, target="≤ 3")
            figures.add(f"newest 10 messages, {name}, on the wire", "KB", size / 1000, target="≤ 10")
        path = f"/api/threads/{self._tree.thread_id}/states?structure=1"
        took, size = await _read(system, path, reads=5)
        figures.add(f"structure of {_STATES:,} states", "ms", took, samples=5, target="≤ 150")
        figures.add(
            f"structure of {_STATES:,} states, compressed, per state", "B", size / _STATES, target="≤ 60"
        )
        for worker, given in (("brief", "10 messages"), ("stamp", "as many as there are, at most 200")):
            for name in (f"depth {depth:,}" for depth in _DEPTHS):
                timed = [await system.stream_run_at(self._inputs[name], 1, 0, worker) for _ in range(_STARTS)]
                value = quantile((run.start for run in timed), 0.5) * 1000
                figures.add(f"start at {name}, given {given}, p50", "ms", value, samples=_STARTS)


async def _read(system: Branchline, path: str, reads: int = _READS) -> tuple[float, int]:
    """Milliseconds (median) and bytes on the wire of an answer."""
    took = []
    for _ in range(reads):
        began = time.perf_counter()
        reply = await system.client.request("GET", path, Accept_Encoding="gzip")
        took.append((time.perf_counter() - began) * 1000)
    if reply.headers.get("content-encoding") == "gzip":
        assert gzip.decompress(reply.body())
    return quantile(took, 0.5), len(reply.body())


def _text() -> str:
    """Words that compress about as well as those of a language."""
    return " ".join(_RANDOM.choices(_WORDS, k=_LETTERS // 3))[:_LETTERS]


async def _grow(system: Branchline, parents: Sequence[int]) -> InputState:
    """Import a tree: a root, and under it a state with one message for each of ``parents``, by index."""
    now = datetime.now(UTC).isoformat()
    states: list[dict[str, Any]] = [{"id": "0", "parent_id": None, "created_at": now}]
    states += [
        {
            "id": str(number),
            "parent_id": str(parent),
            "created_at": now,
            "messages": [{"role": ("user", "assistant")[number % 2], "content": _text()}],
        }
        for number, parent in enumerate(parents, 1)
    ]
    data = {
        "format": "branchline-thread",
        "version": 1,
        "thread": {"title": "Bench", "latest_state_id": str(len(parents))},
        "states": states,
        "runs": [],
    }
    thread = (await system.client.request("POST", "/api/threads/import", data)).json()["thread"]
    return InputState(thread["id"], thread["latest_state_id"])
