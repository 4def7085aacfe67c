"""Start by type: the worker ``stamp`` as each type beside the one in Python, by turns on one system."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys

from bench.branchline import Branchline
from bench.figures import Figures, quantile
from bench.measure import Measure
from bench.measures import turns
from bench.system import System
from bench.variants import ELSEWHERE, HTTP, PLAIN, REMOTE
from runtime.settings import CHECKOUT
from runtime.testing.stack import READY_WITHIN, Process

_RUNS = 10
_IN_A_ROW = 10
_PAUSE = 0.25
"""Seconds between two runs, in which the next process loads its worker."""
_USERS = (2, 4)
"""Runs that are asked for at the same moment."""
_MOMENTS = 3
_PAUSE_BETWEEN = 1.5
"""Seconds between two such moments."""
_POOLS = ("pool types", "pool remote")
_NODE, _EXEC = "stamp-node", "stamp-exec"
_TYPES = {PLAIN: "python", _NODE: "node", _EXEC: "exec", HTTP: "http", REMOTE: "remote"}


class Types(Measure):
    """One run after the other, with pauses and without."""

    name = "types"

    def __init__(self) -> None:
        self._workers: list[str] = []
        self._started: list[Process] = []
        self._parts: dict[str, Process] = {}
        """All processes of the system."""

    async def prepare(self, branchline: Branchline) -> None:
        self._parts = branchline.stack.processes
        token = branchline.stack.run("token", "create", "--pool", "remote").strip()
        self._started = [branchline.stack.start(pool) for pool in _POOLS]
        self._started.append(_machine(branchline, token))
        self._workers = [worker for worker in _TYPES if worker != _NODE or shutil.which("node")]
        for worker in self._workers:
            await _wait_for_pool(branchline, worker)
            await branchline.stream_run_at(branchline.inputs[0], 1, 0, worker)

    async def round(self, system: System, figures: Figures) -> None:
        assert isinstance(system, Branchline)
        await _by_turns(system, figures, self._workers)
        if _NODE in self._workers:
            await _without_pauses(system, figures)
            for users in _USERS:
                await _at_once(system, figures, users)

    async def clear(self) -> None:
        for process in self._started:
            process.terminate()
        while any(process.poll() is None for process in self._started):
            await asyncio.sleep(0.05)
        for pool in _POOLS:
            self._parts.pop(pool, None)


def _machine(system: Branchline, token: str) -> subprocess.Popen[bytes]:
    """A machine elsewhere, that is here."""
    folder = system.stack.folder
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environ |= {"BRANCHLINE_POOL_TOKEN": token, "WORKERS_PATH": str(folder / ELSEWHERE)}
    environ |= {"BRANCHLINE_HOME": str(folder / "home-elsewhere"), "BRANCHLINE_POOL_DRAIN": "1"}
    command = [sys.executable, "-m", "runtime", "remote", "--server", system.stack.url, "--slots", "1"]
    with open(folder / "remote.log", "ab") as log:
        return subprocess.Popen(command, cwd=CHECKOUT, env=environ, stdout=log, stderr=log)


async def _wait_for_pool(system: Branchline, worker: str) -> None:
    async with asyncio.timeout(READY_WITHIN):
        while True:
            found = (await system.client.request("GET", f"/api/workers/{worker}")).json()["worker"]
            if found["slots"]:
                return
            await asyncio.sleep(0.1)


async def _by_turns(system: Branchline, figures: Figures, workers: list[str]) -> None:
    medians = await turns.starts(system, workers, _RUNS, _PAUSE)
    for worker, seconds in medians.items():
        what = f"start of type {_TYPES[worker]}, with pauses between, p50"
        figures.add(what, "ms", seconds * 1000, samples=_RUNS)
        if worker != PLAIN:
            ratio = seconds / medians[PLAIN]
            figures.add(f"{what}, as a multiple of python's", "×", ratio, samples=_RUNS)


async def _without_pauses(system: Branchline, figures: Figures) -> None:
    """The next process is not ready yet when the next run comes."""
    found = [
        (await system.stream_run_at(system.inputs[number % 10], 1, 0, _NODE)).start
        for number in range(_IN_A_ROW)
    ]
    value = quantile(found, 0.5) * 1000
    figures.add(f"start of {_NODE}, one after the other, p50", "ms", value, samples=_IN_A_ROW)


async def _at_once(system: Branchline, figures: Figures, users: int) -> None:
    """The slowest of runs that are asked for at once, with a pause before."""
    found = []
    for _ in range(_MOMENTS):
        await asyncio.sleep(_PAUSE_BETWEEN)
        timed = await asyncio.gather(
            *(system.stream_run_at(system.inputs[number], 1, 0, _NODE) for number in range(users))
        )
        found.append(max(run.start for run in timed))
    value = quantile(found, 0.5) * 1000
    figures.add(f"start of {_NODE}, the slowest of {users} at once, p50", "ms", value, samples=_MOMENTS)
