"""Start: from the request to the first delta that is read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bench.branchline import Branchline
from bench.figures import Figures, quantile
from bench.measure import Measure
from bench.measures import floors, turns
from bench.system import System, TimedRun
from bench.variants import UNSANDBOXED

_RUNS = 200
_ON_OPEN_STREAM = 100
_SANDBOXED = 100
_WAY = (floors.CELERY, floors.APPEND, floors.FORK)


class Start(Measure):
    """One run after the other, on a system that has nothing else to do."""

    name = "start"
    compared = True

    async def round(self, system: System, figures: Figures) -> None:
        timed = [await system.stream_run(number % 10, 1, 0) for number in range(_RUNS)]
        _note(figures, "start, idle", timed, system.is_prototype, ("≤ 8", "≤ 16"))
        if isinstance(system, Branchline):
            timed = [
                await system.stream_run_to_open_thread(number % 10, 1, 0) for number in range(_ON_OPEN_STREAM)
            ]
            _note(figures, "start, idle, thread's stream open", timed, False, ("", ""))
            await _compare_sandbox(system, figures)


class Burst(Measure):
    """A hundred runs that are asked for at once."""

    name = "burst"
    compared = True

    async def round(self, system: System, figures: Figures) -> None:
        timed = await asyncio.gather(*(system.stream_run(index, 1, 0) for index in range(100)))
        value = quantile((run.start for run in timed), 0.5) * 1000
        figures.add(
            "first delta of 100 runs at once, p50", "ms", value,
            samples=100, target="≤ 350", floors=(floors.CELERY_BURST,), is_prototype=system.is_prototype,
        )  # fmt: skip


async def _compare_sandbox(system: Branchline, figures: Figures) -> None:
    """With and without a sandbox by turns, so that both meet the same machine."""
    medians = await turns.starts(system, ("stamp", UNSANDBOXED), _SANDBOXED)
    figures.add(
        "start, idle, p50, as a multiple of the same without a sandbox", "×",
        medians["stamp"] / medians[UNSANDBOXED], samples=_SANDBOXED, target="≤ 1.03",
    )  # fmt: skip


def _note(
    figures: Figures, what: str, timed: Sequence[TimedRun], is_prototype: bool, targets: tuple[str, str]
) -> None:
    for share, target in zip((0.5, 0.99), targets, strict=True):
        value = quantile((run.start for run in timed), share) * 1000
        figures.add(
            f"{what}, p{share * 100:.0f}", "ms", value,
            samples=len(timed), target=target, floors=_WAY, is_prototype=is_prototype,
        )  # fmt: skip
