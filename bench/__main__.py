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
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench import branchline, postgresql, prototype
from bench.branchline import Branchline
from bench.figures import Figures
from bench.measure import Measure
from bench.measures.calls import Calls
from bench.measures.deltas import Deltas, Flood
from bench.measures.files import Files
from bench.measures.floors import Floors
from bench.measures.history import History
from bench.measures.imports import Imports
from bench.measures.kill import Kill
from bench.measures.loops import Loops
from bench.measures.memory import Memory, Slots
from bench.measures.rate import Rate
from bench.measures.scale import Scale
from bench.measures.sockets import Sockets
from bench.measures.start import Burst, Start
from bench.measures.steps import Steps
from bench.measures.stored import Stored
from bench.measures.types import Types
from bench.measures.watchers import Streams, Watchers
from bench.schedule import Schedule
from bench.system import System

Plan = tuple[tuple[Measure, float], ...]
"""What is measured, in this order, and about how many seconds five rounds of it take."""

_HERE: Plan = (
    (Memory(), 12),
    (Start(), 46),
    (Burst(), 14),
    (Deltas(1, 100, 1.0, ("≤ 0.9", "≤ 2.5")), 13),
    (Deltas(20, 50, 5.0, ("≤ 0.8", "≤ 4")), 55),
    (Deltas(100, 20, 5.0, ("≤ 1.2", "≤ 60"), cpu_target="≤ 0.35"), 60),
    (Flood(), 14),
    (Rate(), 22),
    (Stored(), 10),
    (Steps(), 4),
    (Calls(), 4),
    (Loops(), 30),
    (Files(), 8),
    (History(), 20),
    (Watchers(1000, ("≤ 20", "≤ 60")), 22),
    (Watchers(3000, ("", "≤ 200")), 28),
    (Sockets(), 60),
    (Streams(), 10),
    (Slots(), 4),
    (Types(), 45),
    (Imports(), 26),
    (Kill(), 26),
    (Scale(), 16),
)
_ON_REQUEST: Plan = ((Loops("crowd", 1_000, waiting=100_000), 60),)
"""What is measured only where it is named, for it takes too long."""
_ON_SQLITE: Plan = (
    (Start(), 14),
    (Deltas(20, 50, 2.0, ("", "")), 8),
    (Rate(), 8),
    (Steps(), 3),
    (Calls(), 3),
)
"""What differs there, when there is a PostgreSQL for the rest."""
_FLOORS = 14.0
"""Seconds that all rounds of the floors take."""
_START = 12.0
"""Seconds until everything has started that is measured."""
_MINUTES = 4.85
"""For all of it; at most five with what is started and ended around it."""
_WARM_UP = 20
_LONGEST_ROUND = 45.0
"""Seconds after which a round is given up."""
_ROUNDS_ON_SQLITE = 3


@dataclass(frozen=True, slots=True)
class Part:
    """What was measured on one kind of database."""

    database: str
    rounds: int
    figures: Figures = field(default_factory=Figures)
    failed: dict[str, str] = field(default_factory=dict)


def main() -> int:
    """Measure what the arguments choose. Returns an exit code."""
    wanted = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    began, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="branchline-bench-") as folder:
        parts = _measure_all(wanted, Path(folder))
    took = time.monotonic() - began
    if wanted.json:
        print(json.dumps([{**asdict(p), "figures": p.figures.plain()} for p in parts], indent=2))
    else:
        print(
            _heading(took, load), *(f"\n{_title(part)}\n\n{part.figures.table()}" for part in parts), sep="\n"
        )
    failed = [(part.database, name, why) for part in parts for name, why in part.failed.items()]
    for database, name, why in failed:
        _log(f"{database}: {name}: {why}")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    names = [measure.name for measure, _ in (*_HERE, *_ON_REQUEST)]
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Branchline from outside.")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"which benchmarks; all but crowd if none: {', '.join(names)}",
    )
    parser.add_argument(
        "--database",
        metavar="URL",
        default=os.environ.get("DATABASE_URL"),
        help="a PostgreSQL server where databases may be made (DATABASE_URL; else one on this machine, "
        "running or installed), or `sqlite` for SQLite only",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=5,
        metavar="N",
        help="how often everything is measured, if time allows (5)",
    )
    parser.add_argument(
        "--minutes", type=float, default=_MINUTES, metavar="M", help=f"how long it may take ({_MINUTES})"
    )
    parser.add_argument("--json", action="store_true", help="every round's figures, as JSON")
    parser.add_argument(
        "--prototype",
        type=Path,
        metavar="DIR",
        default=os.environ.get("BENCH_PROTOTYPE") or None,
        help="a prototype to measure beside, on PostgreSQL (BENCH_PROTOTYPE)",
    )
    wanted = parser.parse_args()
    if unknown := set(wanted.names) - set(names):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return wanted


def _measure_all(wanted: argparse.Namespace, folder: Path) -> list[Part]:
    here = _chosen((*_HERE, *_ON_REQUEST) if wanted.names else _HERE, wanted.names)
    on_sqlite = _chosen(_ON_SQLITE, wanted.names)
    with ExitStack() as cleanup:
        server = _server(wanted.database, folder, cleanup)
        first = Part("PostgreSQL" if server else "SQLite", wanted.rounds)
        plans = [(first, here, server, wanted.prototype)]
        if server and on_sqlite:
            plans.append((Part("SQLite", min(wanted.rounds, _ROUNDS_ON_SQLITE)), on_sqlite, None, None))
        needed = _FLOORS + sum(_START + sum(seconds for _, seconds in plan) for _, plan, *_ in plans)
        schedule = Schedule(wanted.minutes * 60, needed)
        asyncio.run(_measure_floors(first.figures, schedule.rounds(wanted.rounds, _FLOORS), folder))
        for part, plan, on, prototype_folder in plans:
            asyncio.run(_measure(part, plan, on, prototype_folder, folder, schedule))
        return [part for part, *_ in plans]


def _chosen(plan: Plan, names: Sequence[str]) -> Plan:
    return tuple((measure, seconds) for measure, seconds in plan if not names or measure.name in names)


def _server(given: str | None, folder: Path, cleanup: ExitStack) -> str | None:
    if given and given.startswith("sqlite"):
        return None
    try:
        return cleanup.enter_context(postgresql.server(given, folder / "postgresql"))
    except postgresql.NoPostgreSQL as error:
        _log(f"{error}. Measuring SQLite only.")
        return None


async def _measure(
    part: Part,
    plan: Plan,
    server: str | None,
    prototype_folder: Path | None,
    folder: Path,
    schedule: Schedule,
) -> None:
    with ExitStack() as cleanup:
        _log(f"starting what is measured on {part.database} ...")
        ours = cleanup.enter_context(branchline.running(folder / part.database, server))
        await ours.prepare()
        systems: list[System] = [ours]
        if prototype_folder and server:
            theirs = prototype.running(prototype_folder.resolve(), folder / "prototype", server)
            systems.append(cleanup.enter_context(theirs))
        for system in systems:
            for _ in range(_WARM_UP):
                await system.stream_run(0, 1, 0)
        schedule.passed(_START)
        for measure, seconds in plan:
            rounds = schedule.rounds(part.rounds, seconds)
            try:
                await _rounds(measure, rounds, ours, systems, part.figures)
            except (Exception, asyncio.CancelledError) as error:
                part.failed[measure.name] = f"{type(error).__name__}: {error}"
                _log(f"{measure.name} failed: {part.failed[measure.name]}")


async def _measure_floors(figures: Figures, rounds: Iterable[int], folder: Path) -> None:
    with ExitStack() as cleanup:
        _log("starting the floors ...")
        floors = Floors(folder / "floors", cleanup)
        for number in rounds:
            _log(f"floors, round {number + 1}")
            await floors.round(figures)


async def _rounds(
    measure: Measure, rounds: Iterable[int], ours: Branchline, systems: list[System], figures: Figures
) -> None:
    try:
        for number in rounds:
            _log(f"{measure.name}, round {number + 1}")
            if number == 0:
                async with asyncio.timeout(_LONGEST_ROUND):
                    await measure.prepare(ours)
            for system in systems if measure.compared else [ours]:
                async with asyncio.timeout(_LONGEST_ROUND):
                    await measure.round(system, figures)
    finally:
        await measure.clear()


def _heading(took: float, load: float) -> str:
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, everything on them "
        f"(client, servers, databases), Python {platform.python_version()}, load before {load:.1f}, "
        f"{took:.0f} s in all. n is rounds × measurements in each; median and min–max are of the rounds."
    )


def _title(part: Part) -> str:
    return f"### {part.database}"


def _log(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
