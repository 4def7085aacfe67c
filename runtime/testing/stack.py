"""All of Branchline as real processes, with a port and a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar, Protocol

import argon2
import httpx

from runtime import settings
from runtime.settings import CHECKOUT
from runtime.store import Database, migrate, users
from runtime.system.private_files import private_file
from runtime.testing.client import PASSWORD, Client
from runtime.testing.ports import free_port
from runtime.testing.waiting import until

_HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
READY_WITHIN = 80.0
"""Seconds that a process may take to start on a busy machine."""
ENDED_WITHIN = 30.0
"""Seconds that it may take to end."""


class Process(Protocol):
    """A process of a stack: what :class:`subprocess.Popen` and who stands for it have."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None:
        """The exit code if it has ended."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended. ``timeout`` in seconds; raises TimeoutExpired."""

    def send_signal(self, number: int, /) -> None:
        """Signal it, if it has not ended."""

    def terminate(self) -> None:
        """Send it SIGTERM."""

    def kill(self) -> None:
        """Send it SIGKILL."""


class Starter(Protocol):
    """Starts processes more cheaply than Python does, with the same outcome."""

    def start(self, arguments: Sequence[str], environ: Mapping[str, str], output: int) -> Process | None:
        """``python -m runtime ARGUMENTS`` that prints to ``output``; None where Python is to start it."""


class Stack:
    """Web, pools and reaper, each a process that can be killed and started again."""

    starter: ClassVar[Starter | None] = None
    """Of all stacks that are not ``from_python``."""

    def __init__(
        self,
        folder: Path,
        database_url: str,
        redis_url: str,
        pools: tuple[str, ...] = ("python",),
        apart: Mapping[str, Mapping[str, str]] | None = None,
        python: str = sys.executable,
        user: int | None = None,
        from_python: bool = False,
        **more: str,
    ) -> None:
        """``more`` is in the environment of every process, ``apart`` in that of single ones.

        ``python`` executes them, as ``user`` if it is given (of which only root can make use);
        ``from_python`` whoever could be their :attr:`starter`.

        Its workers are those of the tests, unless ``more`` has another ``WORKERS_PATH``.
        """
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{more.get('BASE_PATH', '')}"
        self.pools = pools
        self._apart = apart or {}
        self._python = python
        self._user = user
        self._from_python = from_python or python != sys.executable or user is not None
        self.environ = {
            **os.environ,
            "BRANCHLINE_HOME": str(folder),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "PORT": str(self.port),
            "WORKERS_PATH": str(CHECKOUT / "tests" / "workers"),
            "BRANCHLINE_LIMITS_LOGINS_PER_MINUTE": "100000",
            "BRANCHLINE_LIMITS_STREAMS_PER_USER": "0",  # one client of a test may read as many do
            **more,
        }
        self.processes: dict[str, Process] = {}
        self._probe_client = Client(self.url)

    def __enter__(self) -> Stack:
        migrate.upgrade(self.environ["DATABASE_URL"])
        try:
            self.start_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._probe_client.close()
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for name, process in self.processes.items():
            try:
                process.wait(ENDED_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise AssertionError(f"{name} did not end in time\n{self.log(name)}") from None

    def start_all(self) -> None:
        """Start every process and wait until the stack is ready."""
        for name in self._parts:
            self.start(name)
        until(self.ready, READY_WITHIN, "the stack is ready")

    def mend(self) -> None:
        """Start again what has died, and wait until the stack is ready."""
        for name, process in list(self.processes.items()):
            if process.poll() is not None and name in self._parts:
                self.start(name)
        until(self.ready, READY_WITHIN, "the stack is ready again")

    @property
    def _parts(self) -> list[str]:
        return ["web", *(f"pool {pool}" for pool in self.pools), "reaper"]

    def start(self, name: str, key: str = "", through: Sequence[str] = (), **more: str) -> Process:
        """Start one process: ``web``, ``pool python``, ``reaper``; a second of its kind under another key.

        ``more`` is added to its environment; ``through`` is a program that becomes it.
        """
        key = key or name
        environ = {**self.environ, **self._apart.get(name, {}), **more}
        with open(private_file(self._log_file(key)), "ab") as file:
            file.seek(0, os.SEEK_END)
            process: Process | None = None
            if self.starter is not None and not (through or self._from_python):
                process = self.starter.start(name.split(), environ, file.fileno())
            self.processes[key] = process or subprocess.Popen(
                [*through, self._python, "-m", "runtime", *name.split()],
                cwd=CHECKOUT,
                env=environ,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
            )
        return self.processes[key]

    def run(self, *arguments: str, code: int = 0) -> str:
        """What a command of ``branchline`` prints, which has to end with the exit code ``code``."""
        done = subprocess.run(
            [sys.executable, "-m", "runtime", *arguments],
            cwd=CHECKOUT,
            env=self.environ,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, (arguments, done.stdout.decode(), done.stderr.decode())
        return done.stdout.decode()

    def ready(self) -> bool:
        """Whether web answers, and every pool has reported itself."""
        try:
            if self._probe_client.get("/readyz").status_code != 200:
                return False
            if not self._probe_client.cookies:
                self._sign_up(self._probe_client)
            workers = self._probe_client.get("/api/workers").json()["items"]
        except httpx.HTTPError:
            return False
        seen = {worker["pool"] for worker in workers if worker["slots"]}
        return seen.issuperset(self.pools)

    def pool_process(self, pool: str = "python") -> int:
        """The process id of a pool's Celery process, the child of its guardian, once there is one."""
        guardian = self.processes[f"pool {pool}"].pid
        children = Path(f"/proc/{guardian}/task/{guardian}/children")
        return int(until(lambda: children.read_text().split(), READY_WITHIN, "a pool process")[0])

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to one process and wait for its end."""
        self.processes[name].send_signal(number)
        self.processes[name].wait(30)

    def log(self, name: str) -> str:
        """What a process has printed so far."""
        return self._log_file(name).read_text(errors="replace")

    def _log_file(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '-')}.log"

    def client(self) -> Client:
        """A client with a new account."""
        client = Client(self.url)
        self._sign_up(client)
        return client

    def _sign_up(self, client: Client) -> None:
        """Make an account, and sign in to it.

        The web process hashes a password for a quarter of a second, on purpose. So the account is
        written into the database, with a hash that costs nothing, where that is ours to write.
        """
        if self._user is not None:
            client.register()
            return
        url = self.environ["DATABASE_URL"]
        email = f"{uuid.uuid4()}@example.com"
        with closing(Database(url, settings.load({"DATABASE_URL": url}).database)) as database:
            database.write(users.register, email=email, password_hash=_HASHER.hash(PASSWORD))
        client.sign_in(email)
