"""A PgBouncer of one's own in front of a database, in transaction mode."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from runtime.testing.ports import free_port
from runtime.testing.waiting import until

NONE = "There is no PgBouncer: install one (Debian: apt install pgbouncer)"
_SERVER_CONNECTIONS = 2
"""Fewer than clients, so that two transactions of a client are often served by different ones."""


@contextmanager
def pgbouncer(database_url: str, *, connect_query: str = "", **options: str) -> Iterator[str]:
    """The URL at which PgBouncer serves the database; skips a test where none is installed.

    ``connect_query`` is what each of its sessions begins with, ``options`` are as in its
    configuration file.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail(NONE)
        pytest.skip(NONE)
    server = sa.make_url(database_url)
    own = server.set(drivername="postgresql", host="127.0.0.1", port=free_port(), password=None)
    folder = Path(tempfile.mkdtemp(prefix="branchline-"))
    try:
        file = folder / "pgbouncer.ini"
        file.write_text(_configuration(server, own, connect_query, options))
        process = _start(program, file)
        try:
            until(lambda: _answers(own, process), what="PgBouncer answers")
            yield own.render_as_string(hide_password=False)
        finally:
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(folder)


def _configuration(server: sa.URL, own: sa.URL, query: str, options: Mapping[str, str]) -> str:
    target = {"host": server.host, "port": server.port or 5432, "user": server.username}
    if server.password:
        target["password"] = server.password
    if query:
        target["connect_query"] = "'" + query.replace("'", "''") + "'"
    settings = {
        "pool_mode": "transaction",
        "listen_addr": own.host,
        "listen_port": own.port,
        "unix_socket_dir": "",
        "auth_type": "any",
        "default_pool_size": _SERVER_CONNECTIONS,
        **options,
    }
    return "\n".join(
        [
            "[databases]",
            f"* = {' '.join(f'{name}={value}' for name, value in target.items())}",
            "[pgbouncer]",
            *(f"{name} = {value}" for name, value in settings.items()),
            "",
        ]
    )


def _start(program: str, file: Path) -> subprocess.Popen[bytes]:
    # Like PostgreSQL it refuses to run as root.
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    if user is not None:
        os.chown(file.parent, user, -1)
        os.chown(file, user, -1)
    return subprocess.Popen([program, "--quiet", str(file)], stderr=subprocess.DEVNULL, user=user)


def _answers(url: sa.URL, process: subprocess.Popen[bytes]) -> bool:
    """Whether it answers at all; the server behind it may be away."""
    assert process.poll() is None, "PgBouncer has ended"
    try:
        psycopg.connect(url.render_as_string(hide_password=False), connect_timeout=3).close()
    except psycopg.OperationalError as error:
        return "refused" not in str(error)
    return True
