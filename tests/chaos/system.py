"""What is shaken: two web processes, two pools and a reaper, on servers of their own.

Whatever ends is started again after a short pause, as a service manager would.
"""

from __future__ import annotations

import os
import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from bench import processes
from runtime.store import migrate
from runtime.testing.ports import free_port
from runtime.testing.postgresql_server import PostgreSQLServer
from runtime.testing.redis_server import RedisServer
from runtime.testing.stack import Stack
from runtime.testing.waiting import until
from tests.chaos.plan import Plan
from tests.support.more_workers import with_workers

LEASE = 6.0
SLOTS = 8
SETTINGS = {
    "BRANCHLINE_POOL_SLOTS": str(SLOTS),
    "BRANCHLINE_POOL_LEASE": f"{LEASE:g}",
    "BRANCHLINE_POOL_RENEW": "1",
    "BRANCHLINE_POOL_DRAIN": "1",
    "BRANCHLINE_POOL_KILL_GRACE": "1",
    "BRANCHLINE_POOL_HOST_RECYCLE": "40",
    "BRANCHLINE_RUN_RETRY_BACKOFF": "0.3",
    "BRANCHLINE_RUN_MAX_ATTEMPTS": "6",
    "BRANCHLINE_REAPER_INTERVAL": "0.5",
    "BRANCHLINE_REAPER_PUBLISH_GRACE": "2",
    "BRANCHLINE_REAPER_ANNOUNCE_GRACE": "1",
    "BRANCHLINE_STREAM_HEARTBEAT": "2",
    "BRANCHLINE_STREAM_REREAD": "1",
    "BRANCHLINE_WEB_DRAIN": "1",
}
_POLL_INTERVAL = 0.05
"""Seconds between two looks whether a process has ended."""


@dataclass(frozen=True, slots=True)
class Part:
    """A process as the service manager knows it."""

    name: str
    key: str
    environ: dict[str, str]


class System:
    """All processes of a deployment on one machine."""

    def __init__(
        self,
        folder: Path,
        database_url: str,
        redis: RedisServer,
        postgresql: PostgreSQLServer | None,
        plan: Plan,
    ) -> None:
        """``postgresql``: the server of ``database_url``, if it is ours to restart."""
        self.folder = folder
        self.database_url = database_url
        self.redis = redis
        self.postgresql = postgresql
        self.largest: dict[str, int] = {}
        """Bytes that a process of each kind had in memory at most."""
        temporary = folder / "tmp"
        temporary.mkdir()
        # Children are given this as well: by it all that belongs to us is known.
        self._mark = f"TMPDIR={temporary}".encode()
        own = {"TMPDIR": str(temporary), "BRANCHLINE_INSTALLATION": plan.installation}
        own["WORKERS_PATH"] = with_workers(folder, "program")
        self._stack = Stack(folder, database_url, redis.url, from_python=True, **SETTINGS, **own)
        ports = (self._stack.port, free_port())
        self.bases = [f"http://127.0.0.1:{port}" for port in ports]
        ahead = clock_ahead(plan.skew)
        self._parts = [
            Part("web", "web 1", {"PORT": str(ports[0])}),
            Part("web", "web 2", {"PORT": str(ports[1]), **ahead}),
            Part("pool python", "pool 1", {}),
            Part("pool python", "pool 2", ahead),
            Part("reaper", "reaper", {}),
        ]
        self._chance = random.Random(f"{plan.seed} pauses")
        self._due: dict[str, float] = {}
        self._over = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)

    def __enter__(self) -> System:
        migrate.upgrade(self._stack.environ["DATABASE_URL"])
        for part in self._parts:
            self._stack.start(part.name, part.key, **part.environ)
        self._supervisor.start()
        try:
            until(self._ready, 60, "the system is ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._supervisor.join()
        self._stack.__exit__()

    def _ready(self) -> bool:
        return self._stack.ready() and len(self.pool_processes()) == 2

    def log(self, key: str) -> str:
        """What a process has printed."""
        return self._stack.log(key)

    @property
    def keys(self) -> list[str]:
        """The names of all processes."""
        return [part.key for part in self._parts]

    # ── processes ───────────────────────────────────────────────────────────

    def targets(self, kind: str) -> list[int]:
        """The processes of a kind that there are just now."""
        match kind:
            case "web":
                return [self._pid(key) for key in ("web 1", "web 2")]
            case "web worker":
                return [child for pid in self.targets("web") for child in processes.children(pid)]
            case "guardian":
                return [self._pid(key) for key in ("pool 1", "pool 2")]
            case "pool":
                return list(self.pool_processes())
            case "host":
                return [child for pid in self.targets("pool") for child in processes.children(pid)]
            case "child":
                return [child for pid in self.targets("host") for child in processes.children(pid)]
            case "reaper":
                return processes.children(self._pid("reaper"))
            case _:
                return [self._pid("reaper")]

    def pool_processes(self) -> dict[int, str]:
        """The pool processes and their incarnations."""
        found = {}
        for guardian in self.targets("guardian"):
            for pid in processes.children(guardian):
                arguments = _command(pid)
                if "runtime.pool.process" in arguments:
                    found[pid] = arguments[arguments.index("runtime.pool.process") + 3]
        return found

    def leftovers(self) -> dict[int, str]:
        """Every process that is ours or descends from one, and what it is."""
        found = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                try:
                    if self._mark in (folder / "environ").read_bytes().split(b"\0"):
                        found[int(folder.name)] = " ".join(_command(int(folder.name)))
                except OSError:  # it has ended meanwhile
                    continue
        return found

    def measure(self) -> None:
        """Note how much memory each process has."""
        for kind in ("web worker", "pool", "host", "reaper"):
            for pid in self.targets(kind):
                try:
                    size = processes.resident(pid)
                except OSError:
                    continue
                self.largest[kind] = max(size, self.largest.get(kind, 0))

    def _pid(self, key: str) -> int:
        return self._stack.processes[key].pid

    def _supervise(self) -> None:
        """Start again what has ended."""
        while not self._over.wait(_POLL_INTERVAL):
            for part in self._parts:
                if self._stack.processes[part.key].poll() is None:
                    continue
                due = self._due.setdefault(part.key, time.monotonic() + self._chance.uniform(0.1, 1.0))
                if time.monotonic() >= due:
                    del self._due[part.key]
                    self._stack.start(part.name, part.key, **part.environ)


def clock_ahead(seconds: float) -> dict[str, str]:
    """Variables with which a process sees the time that it will be; empty without libfaketime.

    Its monotonic clock is shifted too: libfaketime 0.9.10 refuses every sleep where it is not.
    """
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None or not seconds:
        return {}
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": f"+{seconds:.3f}s",
        "FAKETIME_NO_CACHE": "0",
    }


def _command(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []
