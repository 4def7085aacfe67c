"""What is measured, whichever it is: something that accepts runs and streams their text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TimedRun:
    """One run, from the request to the end of its stream; moments by ``time.time()``."""

    asked_at: float
    accepted_at: float
    ended_at: float
    deltas: list[tuple[float, float]]
    """When each was written, and when it was read."""

    @property
    def start(self) -> float:
        """Seconds from the request to the first delta."""
        return self.deltas[0][1] - self.asked_at

    @property
    def latencies(self) -> list[float]:
        """Seconds that each delta took."""
        return [read - written for written, read in self.deltas]


class System(Protocol):
    """Branchline, or the prototype that it is compared with."""

    is_prototype: bool
    """Whether it is only there to be compared with."""

    async def stream_run(self, index: int, n: int, gap: float) -> TimedRun:
        """Request one run that writes ``n`` deltas ``gap`` seconds apart, and read its stream.

        Runs at the same time each need an ``index`` of their own.
        """
        ...

    def cpu_by_part(self) -> dict[str, float]:
        """CPU seconds that its parts have used, Redis and the database's own processes among them."""
        ...

    def pool_memory(self) -> int:
        """Bytes that the process which relays has in memory."""
        ...


@dataclass(slots=True)
class Spent:
    """CPU seconds that were used while something ran."""

    parts: dict[str, float] = field(default_factory=dict)

    @property
    def cpu(self) -> float:
        """Of all parts."""
        return sum(self.parts.values())


@contextmanager
def spending(system: System) -> Iterator[Spent]:
    """Within it, what the system uses is counted."""
    spent, before = Spent(), system.cpu_by_part()
    yield spent
    spent.parts = {part: used - before.get(part, 0.0) for part, used in system.cpu_by_part().items()}


@dataclass(slots=True)
class Peak:
    """Of something that is measured again and again: the value at the start, and the largest."""

    before: float = 0.0
    most: float = 0.0


@contextmanager
def watching(measure: Callable[[], float], every: float = 0.05) -> Iterator[Peak]:
    """Within it, ``measure`` is called every so many seconds."""
    peak = Peak(measure())
    peak.most = peak.before

    async def watch() -> None:
        while True:
            await asyncio.sleep(every)
            peak.most = max(peak.most, measure())

    task = asyncio.get_running_loop().create_task(watch())
    try:
        yield peak
    finally:
        task.cancel()
        peak.most = max(peak.most, measure())
