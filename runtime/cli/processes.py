"""The processes of the Procfile, each in the foreground until SIGTERM."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from runtime.cli import extras
from runtime.logs import configure
from runtime.pool import guardian
from runtime.settings import CHECKOUT, current

CONFIG = CHECKOUT / "config"
_REQUEUE_TIMEOUT = 15.0
"""Seconds that a pool process may take to requeue its runs once it has drained."""
_ROUND_TIMEOUT = 30.0
"""Seconds that a reaper may take to end its round."""


@click.command()
def web() -> None:
    """Serve the API and the streams with gunicorn, as config/gunicorn.conf.py says.

    It listens on HOST and PORT. Any number of web processes may run, on any
    number of machines: they are stateless.
    """
    from runtime.settings import database_address  # the other commands here do without psycopg

    # Report invalid settings before gunicorn fails on them.
    database_address.parse(current().database_url)
    _become("gunicorn", "--config", str(CONFIG / "gunicorn.conf.py"))


@click.command()
@click.argument("name")
@click.option("--slots", type=click.IntRange(min=1), help="Runs at once (default: BRANCHLINE_POOL_SLOTS).")
def pool(name: str, slots: int | None) -> None:
    """Execute the runs of the pool NAME: those of its workers.

    A worker's pool is its type (python, exec, node, http) unless its worker.toml
    names another. On SIGTERM it claims no more runs, gives those
    that it executes BRANCHLINE_POOL_DRAIN seconds to end, and requeues the rest.
    """
    configure(current())
    settings = current().pool
    timeout = settings.drain + settings.kill_grace + _REQUEUE_TIMEOUT
    sys.exit(guardian.main(name, slots or settings.slots, timeout, settings.silence))


@click.command()
@click.option("--once", is_flag=True, help="Run once and exit.")
def reaper(once: bool) -> None:
    """Recover what was lost: runs of dead pools, lost messages, missed announcements.

    One is enough; several do no harm.
    """
    if once:
        from runtime.maintenance import reaper

        sys.exit(reaper.main(["--once"]))
    from runtime.maintenance import guardian

    configure(current())
    sys.exit(guardian.main(_ROUND_TIMEOUT, current().pool.silence))


@click.command()
def flower() -> None:
    """Serve Flower, which monitors the pools, on HOST and FLOWER_PORT.

    It is protected by a password: BRANCHLINE_FLOWER_USER and
    BRANCHLINE_FLOWER_PASSWORD, or a password in the data folder.
    """
    current()
    extras.require("flower", "flower")
    _become("celery", "--app", "runtime.queue.app", "flower", f"--conf={CONFIG / 'flower.py'}")


@click.command()
def openapi() -> None:
    """Print the API's OpenAPI 3.1 document."""
    _become("flask", "--app", "web.app:create_app", "openapi", "print")


def _become(module: str, *arguments: str) -> NoReturn:
    """Replace this process by a Python program, from the checkout."""
    os.chdir(CHECKOUT)
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])
