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

from runtime.cli import extras
from runtime.cli.embedded_redis import EmbeddedRedis
from runtime.cli.report import JsonReport, Report, TextReport
from runtime.cli.supervisor import Supervisor
from runtime.cli.users import register
from runtime.errors import ConfigurationError, Conflict, StoreUnavailable
from runtime.logs import configure
from runtime.settings import CHECKOUT, Settings, current, database_address, load
from runtime.store import Database, pools, users
from runtime.store import migrate as migration
from runtime.system.private_files import private_file, private_folder

_PROCFILE = CHECKOUT / "Procfile"
_SLOW_START = 60.0
"""Seconds after which it is reported what is not ready yet."""
_SHORT_DRAIN = {"BRANCHLINE_POOL_DRAIN": "2", "BRANCHLINE_WEB_DRAIN": "2"}
"""On a developer's machine Ctrl-C ends everything soon; interrupted runs continue at the next start."""


@click.command()
def up() -> None:
    """Start everything on this machine; Ctrl-C stops it.

    That is: Redis (unless REDIS_URL names one), the database (SQLite in the data
    folder unless DATABASE_URL names one) with its migrations and an account for
    development, then every process of the Procfile. A process that ends is restarted. The
    data is kept in BRANCHLINE_HOME.
    """
    settings = current()
    configure(settings)
    extras.require("up", "flower")  # one of the processes that it starts
    with _exclusive(settings.home), _interrupt_on_signals():
        _check_ports(settings)
        environ = _SHORT_DRAIN | dict(os.environ)
        environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", "")])
        report = JsonReport() if settings.service.log_format == "json" else TextReport()
        supervisor = Supervisor(environ, CHECKOUT, _grace(load(environ)), report)
        try:
            _prepare(settings, supervisor, report)
            _start_procfile(supervisor, report)
            report.done("processes of the Procfile, starting")
            announce = partial(_announce_ready, settings, supervisor, report)
            threading.Thread(target=announce, daemon=True).start()
            supervisor.loop()
        finally:
            report.note("Stopping ...")
            supervisor.stop()
            report.note(f"Stopped. Your data is in {settings.home}.")


@contextmanager
def _exclusive(home: Path) -> Iterator[None]:
    """Lock the data folder. Raises Conflict if another ``up`` uses it."""
    with os.fdopen(private_file(private_folder(home) / "up.lock"), "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"Branchline is already running on {home} (process {file.read().strip() or 'unknown'}). "
                "Stop it, or set BRANCHLINE_HOME, PORT and FLOWER_PORT to start a second one."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def _interrupt_on_signals() -> Iterator[None]:
    """Until the supervisor listens, SIGTERM and SIGHUP end this process as Ctrl-C does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    yield


def _check_ports(settings: Settings) -> None:
    service = settings.service
    if service.port == service.flower_port:
        raise ConfigurationError(f"PORT and FLOWER_PORT are both {service.port}; set one of them to another.")
    places = [("PORT", settings.host, service.port), ("FLOWER_PORT", settings.host, service.flower_port)]
    if extras.present("gradio"):
        places.append(("BRANCHLINE_GRADIO_PORT", settings.gradio.host.strip("[]"), settings.gradio.port))
    for name, host, port in places:
        if not _can_listen(host, port):
            raise Conflict(
                f"Port {port} of {host} is used by another program. "
                f"Stop it, or choose another port: {name}={port + 1} make run"
            )


def _can_listen(host: str, port: int) -> bool:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise ConfigurationError(f"HOST={host} is not an address of this machine ({error}).") from error
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError:
            return False
        return True


def _prepare(settings: Settings, supervisor: Supervisor, report: Report) -> None:
    """Start or create what the processes need."""
    if not settings.service.redis_url:
        server = EmbeddedRedis(settings.home)
        url = server.prepare()
        supervisor.add("redis", server.command)
        supervisor.start("redis")
        version = server.wait(url, lambda: supervisor.running("redis"))
        report.done(f"{version} on {url.rpartition('@')[2]}")
    migration.upgrade(settings.database_url)
    where = database_address.parse(settings.database_url)
    kind = "SQLite" if isinstance(where, database_address.SQLiteFile) else "PostgreSQL"
    report.done(f"database ({kind}), migrated")
    _ = settings.secret_key, settings.flower_password  # created now, not by several processes at once
    if _development_account(settings):
        report.done(f"account {settings.development.email}, created")


def _development_account(settings: Settings) -> bool:
    """Create it if it is missing, but never where others can reach it. Returns whether it was created."""
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


def _start_procfile(supervisor: Supervisor, report: Report) -> None:
    for name, command in _processes().items():
        if name == "gradio" and not extras.present("gradio"):
            report.note("gradio is not installed, so its page is left out; make gradio installs it.")
            continue
        supervisor.add(name, command)
        supervisor.start(name)


def _grace(settings: Settings) -> float:
    """Seconds within which every process ends by itself."""
    pool = settings.pool
    return max(pool.drain + pool.kill_grace, settings.web.drain) + 3


def _announce_ready(settings: Settings, supervisor: Supervisor, report: Report) -> None:
    """In a thread: wait until everything is ready, then print where it is."""
    report_at = time.monotonic() + _SLOW_START
    database = Database(settings.database_url, settings.database)
    with httpx.Client(timeout=2, trust_env=False) as client:
        while reason := _not_ready(settings, client, database):
            if time.monotonic() > report_at:
                report_at = float("inf")
                supervisor.call_soon(partial(report.warn, f"Not ready yet: {reason}"))
            time.sleep(0.2)
    supervisor.call_soon(partial(report.ready, settings))


def _not_ready(settings: Settings, client: httpx.Client, database: Database) -> str:
    """What is not ready yet; empty once everything is."""
    urls = [f"{settings.web_url}/readyz", f"{settings.flower_url}/healthcheck"]
    if extras.present("gradio"):
        urls.append(f"{settings.gradio_url}/healthz")
    for url in urls:
        try:
            answer = client.get(url)
        except httpx.HTTPError as error:
            return f"no answer at {url} ({error})"
        if not answer.is_success:
            return f"{url} answers {answer.text.strip()}"
    try:
        found = database.read(pools.listing, settings.pool.lease)
    except StoreUnavailable as error:
        return str(error)
    alive = {pool.name for pool in found if pool.alive}
    absent = sorted(set(_pool_names()) - alive)
    return f"the pool {absent[0]} has not reported in" if absent else ""


def _pool_names() -> Iterator[str]:
    for command in _processes().values():
        _, found, name = command.partition("branchline pool ")
        if found:
            yield name.split()[0]


def _processes() -> dict[str, str]:
    """Name → command of every process in the Procfile."""
    return dict(parse_procfile(_PROCFILE.read_text()).processes)
