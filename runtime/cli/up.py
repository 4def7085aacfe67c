"""``branchline up``: everything on this machine, in one terminal."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
import httpx
from honcho.environ import parse_procfile
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from runtime.cli import extras
from runtime.cli.embedded_redis import EmbeddedRedis
from runtime.cli.supervisor import Supervisor
from runtime.cli.terminal import console
from runtime.cli.users import register
from runtime.errors import ConfigurationError, Conflict
from runtime.settings import CHECKOUT, Settings, current, load
from runtime.store import Database, pools, users
from runtime.store import migrate as migration

_PROCFILE = CHECKOUT / "Procfile"
_READY = 60.0
"""Seconds until we say that something takes too long."""
_QUICK_STOP = {"BRANCHLINE_POOL_DRAIN": "2", "BRANCHLINE_WEB_DRAIN": "2"}
"""Here Ctrl-C shall end all soon; runs that are cut off go on at the next start."""


@click.command()
def up() -> None:
    """Start everything on this machine; Ctrl-C stops it.

    That is: Redis (unless REDIS_URL names one), the database (SQLite in the data
    folder unless DATABASE_URL names one) with its migrations and an account for
    development, then every process of the Procfile. A process that dies is started
    again. The data stays in BRANCHLINE_HOME.
    """
    settings = current()
    extras.require("up", "flower")  # one of the processes that it starts
    with _only_one(settings.home), _signals_end_it():
        _check_ports(settings)
        environ = _QUICK_STOP | dict(os.environ)
        environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", "")])
        supervisor = Supervisor(environ, CHECKOUT, grace=_grace(load(environ)))
        try:
            _prepare(settings, supervisor)
            _start_procfile(supervisor)
            threading.Thread(target=_greet, args=(settings, supervisor), daemon=True).start()
            supervisor.loop()
        finally:
            console.print("Stopping ...")
            supervisor.stop()
            console.print(f"Stopped. What you made is kept in {settings.home}.")


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Hold the data folder. Raises Conflict if another ``up`` has it."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home / "up.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Conflict(
                f"Branchline is already running on {home} (process {file.read().strip() or 'unknown'}). "
                "Stop that one, or start a second one with another BRANCHLINE_HOME, PORT and FLOWER_PORT."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def _signals_end_it() -> Iterator[None]:
    """Until the supervisor listens, SIGTERM and SIGHUP end this process as Ctrl-C does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    yield


def _check_ports(settings: Settings) -> None:
    service = settings.service
    if service.port == service.flower_port:
        raise ConfigurationError(f"PORT and FLOWER_PORT are both {service.port}; set one of them to another.")
    for name, port in (("PORT", service.port), ("FLOWER_PORT", service.flower_port)):
        if not _can_listen(service.host, port):
            raise Conflict(
                f"Port {port} of {service.host} is taken by another program. "
                f"Stop that, or choose another port: {name}={port + 1} make run"
            )


def _can_listen(host: str, port: int) -> bool:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise ConfigurationError(f"HOST={host} is no address of this machine ({error}).") from error
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError:
            return False
        return True


def _prepare(settings: Settings, supervisor: Supervisor) -> None:
    """What must be there before the first process starts."""
    if not settings.service.redis_url:
        server = EmbeddedRedis(settings.home)
        url = server.prepare()
        supervisor.add("redis", server.command)
        supervisor.start("redis")
        version = server.wait(url, lambda: supervisor.running("redis"))
        _done(f"{version} on {url.rpartition('@')[2]}")
    migration.upgrade(settings.database_url)
    _done(
        f"database {'(SQLite)' if settings.database_url.startswith('sqlite') else '(PostgreSQL)'}, migrated"
    )
    _ = settings.secret_key, settings.flower_password  # made now, once, not by several at a time
    if _development_account(settings):
        _done(f"account {settings.development.email}, made for you")


def _development_account(settings: Settings) -> bool:
    """Make it if it is not there, and where nobody else can reach it. Returns whether it was made."""
    if settings.deployed:
        return False
    database = Database(settings.database_url, settings.database)
    try:
        if database.read(users.by_email, settings.development.email):
            return False
        register(database, settings.development.email, settings.development.password, "Developer")
        return True
    finally:
        database.close()


def _start_procfile(supervisor: Supervisor) -> None:
    for name, command in _processes().items():
        supervisor.add(name, command)
        supervisor.start(name)
    _done("processes of the Procfile, starting")


def _done(text: str) -> None:
    console.print(f"[green]✓[/] {escape(text)}")


def _grace(settings: Settings) -> float:
    """Seconds in which every process ends by itself."""
    pool = settings.pool
    return max(pool.drain + pool.kill_grace, settings.web.drain) + 3


def _greet(settings: Settings, supervisor: Supervisor) -> None:
    """In a thread: wait until everything is ready, then have it said."""
    complain_at = time.monotonic() + _READY
    database = Database(settings.database_url, settings.database)
    with httpx.Client(timeout=2, trust_env=False) as client:
        while missing := _missing(settings, client, database):
            if time.monotonic() > complain_at:
                complain_at = float("inf")
                supervisor.call_soon(partial(console.print, f"[yellow]Not ready yet:[/] {escape(missing)}"))
            time.sleep(0.2)
    supervisor.call_soon(partial(console.print, _panel(settings)))


def _missing(settings: Settings, client: httpx.Client, database: Database) -> str:
    """What everything still waits for; nothing once all of it is ready."""
    service = settings.service
    for port, path in ((service.port, "/readyz"), (service.flower_port, "/healthcheck")):
        url = _address(settings, port) + path
        try:
            answer = client.get(url)
        except httpx.HTTPError as error:
            return f"nothing answers at {url} ({error})"
        if answer.status_code != 200:
            return f"{url} says {answer.text.strip()}"
    alive = {pool.name for pool in database.read(pools.listing, settings.pool.lease) if pool.alive}
    absent = sorted(set(_pool_names()) - alive)
    return f"the pool {absent[0]} has not reported itself" if absent else ""


def _pool_names() -> Iterator[str]:
    for command in _processes().values():
        _, found, name = command.partition("branchline pool ")
        if found:
            yield name.split()[0]


def _processes() -> dict[str, str]:
    """Name → command of every process in the Procfile."""
    return dict(parse_procfile(_PROCFILE.read_text()).processes)


def _address(settings: Settings, port: int) -> str:
    host = settings.service.host
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"


def _panel(settings: Settings) -> Panel:
    address = _address(settings, settings.service.port)
    flower = _address(settings, settings.service.flower_port)
    if settings.deployed:  # what is printed here may end up in a log
        account, password = "branchline user add EMAIL makes one", "as set, or as kept in the data folder"
    else:
        account = f"{settings.development.email}, password {settings.development.password}"
        password = settings.flower_password
    rows = {
        "Branchline": address,
        "Try the API": f"{address}/api/docs",
        "Account": account,
        "Flower": f"{flower}, user {settings.flower.user}, password {password}",
        "Chat here": f"{Path(sys.executable).with_name('branchline')} chat",
        "Data": str(settings.home),
        "Stop": "Ctrl-C; your data stays",
    }
    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(f"[bold]{name}[/]", escape(value))
    return Panel(table, title="Branchline is running", border_style="green", expand=False)
