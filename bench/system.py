"""What is measured, whichever it is: something that takes runs and streams their words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Talk:
    """One run, from the request to the last word; moments by ``time.time()``."""

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
    """Branchline, or the prototype beside it."""

    beside: bool
    """Whether it is only there to be compared with."""

    async def talk(self, place: int, n: int, gap: float) -> Talk:
        """Have one run say ``n`` deltas with ``gap`` seconds between.

        Talks at the same time have places of their own.
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
    """Of what is looked at again and again."""

    before: float = 0.0
    most: float = 0.0


@contextmanager
def watching(look: Callable[[], float], every: float = 0.05) -> Iterator[Peak]:
    """Within it, ``look`` is called every so many seconds."""
    peak = Peak(look())
    peak.most = peak.before

    async def watch() -> None:
        while True:
            await asyncio.sleep(every)
            peak.most = max(peak.most, look())

    task = asyncio.get_running_loop().create_task(watch())
    try:
        yield peak
    finally:
        task.cancel()
        peak.most = max(peak.most, look())
