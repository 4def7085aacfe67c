"""A machine elsewhere: executes runs of a pool over HTTPS, in the sandbox of a pool."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import click

from runtime.child import Child, Children
from runtime.errors import ChildFailed, ChildLost, Invalid
from runtime.logs import configure
from runtime.pool.outcome import exit_error
from runtime.registry import Registry, Worker, discover
from runtime.sdk.remote import Exit, Lost, Machine
from runtime.sdk.remote.machine import say
from runtime.settings import current


@click.command()
@click.option("--server", required=True, metavar="URL", help="The installation, such as https://example.com.")
@click.option(
    "--token",
    envvar="BRANCHLINE_POOL_TOKEN",
    required=True,
    help="A token of the pool; better by the variable BRANCHLINE_POOL_TOKEN.",
)
@click.option("--pool", default="remote", show_default=True, help="Whose runs.")
@click.option("--slots", type=click.IntRange(min=1), default=1, show_default=True, help="Runs at once.")
@click.option(
    "--workers",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder that contains one folder per worker; else those of WORKERS_PATH.",
)
def remote(server: str, token: str, pool: str, slots: int, workers: tuple[Path, ...]) -> None:
    """Execute the runs of a pool on this machine, over HTTPS.

    It needs no Redis, no database and no open port. The workers are those of the
    folders, with the ids that the installation has as type remote. On SIGTERM it
    asks for no more runs, gives those that it executes BRANCHLINE_POOL_DRAIN
    seconds to end, and hands the rest back.
    """
    settings = current()
    configure(settings)
    registry = discover(workers or settings.worker_folders)
    for folder, problem in registry.broken.items():
        say(f"{folder}: {problem}")
    if not registry.workers:
        raise Invalid("There is no worker in the folders; name others by --workers, or by WORKERS_PATH.")
    with closing(Children(settings)) as children:
        try:
            machine = Machine(server, token, pool, slots, _Workers(registry, children).start)
        except ValueError as error:
            raise Invalid(str(error)) from error
        signal.signal(signal.SIGTERM, machine.drain)
        signal.signal(signal.SIGINT, machine.drain)
        say(f"asks {server} for runs of the pool {pool}; has {', '.join(registry.workers)}")
        machine.run(settings.pool.drain)
    if machine.refusal is not None:
        say(machine.refusal)
        sys.exit(1)


class _Workers:
    """Starts the workers of this machine, each by its type."""

    def __init__(self, registry: Registry, children: Children) -> None:
        self._registry = registry
        self._children = children

    def start(self, worker_id: str, environ: Mapping[str, str], line: bytes) -> _Executed:
        """Start a worker with its first line. Raises LookupError, OSError, Lost."""
        worker = self._registry.workers.get(worker_id)
        if worker is None or worker.type.elsewhere:
            raise LookupError(worker_id)
        if reason := worker.unavailable(os.environ):
            raise OSError(reason)
        try:
            child = self._children.start(
                worker, run_id=environ["BRANCHLINE_RUN_ID"], environ=environ, line=line + b"\n"
            )
        except ChildLost as error:
            raise Lost(str(error)) from error
        except ChildFailed as error:
            raise OSError(str(error)) from error
        return _Executed(worker, child)


class _Executed:
    """A child of this machine that executes one run. See :class:`runtime.sdk.remote.Worker`."""

    def __init__(self, worker: Worker, child: Child) -> None:
        self._worker = worker
        self.read = child.read
        self.read_log = child.read_log
        self.send = child.send
        self.show_stack = child.show_stack
        self.stop = child.stop
        self.close = child.close
        self._child = child

    def exit(self, timeout: float) -> Exit | None:
        """How it has ended, for which so many seconds are waited; None: by exit code 0."""
        child = self._child
        error = exit_error(child.wait(timeout), child.oom_killed, self._worker.limits, child.exceeded)
        if child.lost is not None:
            return Exit(child.lost, lost=True)
        return Exit(error.message) if error is not None else None
