"""``python -m bench``: measure Branchline from outside, and print a Markdown table.

Progress goes to stderr. Nothing here passes or fails by its figures: a machine is
as quick as it is. It does fail where something was lost, doubled, or did not come.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from bench import branchline, prototype
from bench.branchline import Branchline
from bench.figures import Figures
from bench.measure import Measure
from bench.measures.deltas import Deltas, Flood
from bench.measures.floors import Floors
from bench.measures.history import History
from bench.measures.memory import Memory
from bench.measures.rate import Rate
from bench.measures.start import Burst, Start
from bench.measures.watchers import Streams, Watchers
from bench.system import System

MEASURES: tuple[Measure, ...] = (
    Memory(),
    Start(),
    Burst(),
    Deltas(1, 100, 2.0, ("≤ 0.9", "≤ 2.5")),
    Deltas(20, 50, 4.0, ("≤ 0.8", "≤ 4")),
    Deltas(100, 20, 4.0, ("≤ 1.2", "≤ 60")),
    Flood(),
    Rate(),
    History(),
    Watchers(1000, ("≤ 20", "≤ 60")),
    Watchers(3000, ("", "≤ 200")),
    Streams(),
)
_WARM_UP = 20
_LONGEST_ROUND = 90.0
"""Seconds after which a round is given up."""


def main() -> int:
    """Measure what the arguments choose. Returns an exit code."""
    wanted = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    figures, failed = Figures(), dict[str, str]()
    began, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="branchline-bench-") as folder, ExitStack() as cleanup:
        asyncio.run(_measure(wanted, Path(folder), cleanup, figures, failed))
    took = time.monotonic() - began
    if wanted.json:
        print(json.dumps({"figures": figures.plain(), "failed": failed}, indent=2))
    else:
        print(_heading(wanted, took, load), "", figures.table(), sep="\n")
    for name, why in failed.items():
        _say(f"{name}: {why}")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    names = [measure.name for measure in MEASURES]
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Branchline from outside.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which benchmarks; all if none: {', '.join(names)}"
    )
    parser.add_argument(
        "--database", metavar="URL", help="a PostgreSQL server where databases may be made; none: SQLite"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="how often everything is measured (5)"
    )
    parser.add_argument("--json", action="store_true", help="every round's figures, as JSON")
    parser.add_argument(
        "--prototype", type=Path, metavar="DIR", help="a prototype to measure beside; needs --database"
    )
    wanted = parser.parse_args()
    if unknown := set(wanted.names) - set(names):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if wanted.prototype and not wanted.database:
        parser.error("--prototype needs --database")
    wanted.names = wanted.names or names
    return wanted


async def _measure(
    wanted: argparse.Namespace, folder: Path, cleanup: ExitStack, figures: Figures, failed: dict[str, str]
) -> None:
    _say("starting what is measured ...")
    floors = Floors(folder / "floors", cleanup)
    ours = cleanup.enter_context(branchline.running(folder / "branchline", wanted.database))
    await ours.prepare()
    systems: list[System] = [ours]
    if wanted.prototype:
        theirs = prototype.running(wanted.prototype.resolve(), folder / "prototype", wanted.database)
        systems.append(cleanup.enter_context(theirs))
    for system in systems:
        for _ in range(_WARM_UP):
            await system.talk(0, 1, 0)
    for number in range(wanted.rounds):
        _say(f"floors, round {number + 1} of {wanted.rounds}")
        await floors.round(figures)
    for measure in MEASURES:
        if measure.name in wanted.names:
            try:
                await _rounds(measure, wanted.rounds, ours, systems, figures)
            except (Exception, asyncio.CancelledError) as error:
                failed[measure.name] = f"{type(error).__name__}: {error}"
                _say(f"{measure.name} failed: {failed[measure.name]}")


async def _rounds(
    measure: Measure, rounds: int, ours: Branchline, systems: list[System], figures: Figures
) -> None:
    try:
        async with asyncio.timeout(_LONGEST_ROUND):
            await measure.prepare(ours)
        for number in range(rounds):
            _say(f"{measure.name}, round {number + 1} of {rounds}")
            for system in systems if measure.compared else [ours]:
                async with asyncio.timeout(_LONGEST_ROUND):
                    await measure.round(system, figures)
    finally:
        await measure.clear()


def _heading(wanted: argparse.Namespace, took: float, load: float) -> str:
    database = "PostgreSQL" if wanted.database else "SQLite"
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {database}, {os.cpu_count()} cores, everything on them "
        f"(client, servers, database), Python {platform.python_version()}, load before {load:.1f}; "
        f"{wanted.rounds} rounds, {took:.0f} s. "
        "n is rounds × measurements in each; median and min–max are of the rounds."
    )


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
