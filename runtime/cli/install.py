"""``branchline install``: make the environments that workers require."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from runtime.cli.run import folder_of
from runtime.cli.terminal import console
from runtime.registry import Worker, discover, load
from runtime.registry.environments import Environment, Environments
from runtime.settings import current
from runtime.system.private_files import private_file, private_folder


class _Failed(Exception):
    """An environment could not be made; the message says why, as a sentence."""


@click.command()
@click.argument("worker", required=False)
@click.option("--prune", is_flag=True, help="Then remove the environments that no installed worker requires.")
def install(worker: str | None, prune: bool) -> None:
    """Make the environments that workers require: that of WORKER, a folder or an id, or all.

    What the requirements of a worker.toml name is installed with uv where that is on the PATH, else
    with pip, for the Python that executes this command. It is kept in the data folder until the
    requirements change, and pools find it there by themselves. Exit code 1 if one could not be made.
    """
    settings = current()
    environments = Environments(settings.home)
    installed = list(discover(settings.worker_folders).workers.values())
    wanted = [load(folder_of(worker, settings))] if worker else installed
    with _alone(environments.root) as lock:
        made = [_install(one, environment, lock) for one in wanted if (environment := environments.of(one))]
        if prune:
            _prune(environments, [*installed, *wanted])
    if not made:
        which = f"The worker {wanted[0].id}" if worker else "None of the installed workers"
        console.print(f"{which} has `requirements` in its worker.toml: nothing is to be installed.")
    sys.exit(0 if all(made) else 1)


@contextmanager
def _alone(root: Path) -> Iterator[int]:
    """Wait until no other process installs anything; the descriptor of the lock.

    What installs holds it as well, so that it is locked until that has ended too, if this is killed.
    """
    private_folder(root.parent)
    private_folder(root)
    lock = private_file(root / "lock")
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print("Another process is installing. This one waits for its end.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def _install(worker: Worker, environment: Environment, lock: int) -> bool:
    """Make an environment, unless it is there. False if it could not be made."""
    if environment.installed:
        console.print(f"{worker.id}: installed already, in {environment.folder}", markup=False)
        return True
    console.print(f"{worker.id}: installing {environment.requirements}", markup=False)
    shutil.rmtree(environment.folder, ignore_errors=True)  # one that was not completed
    try:
        for command in _commands(environment):
            _execute(command, environment.requirements.parent, lock)
        _mark(environment)
    except _Failed as error:
        console.print(f"{worker.id}: {error}", style="red", markup=False)
        return False
    finally:
        if not environment.installed:
            shutil.rmtree(environment.folder, ignore_errors=True)
    console.print(f"{worker.id}: installed in {environment.folder}", markup=False)
    return True


def _commands(environment: Environment) -> Sequence[Sequence[str]]:
    """What makes it, with uv or with what comes with Python."""
    folder, python = str(environment.folder), str(environment.python)
    required = ["-r", str(environment.requirements)]
    uv = shutil.which("uv")
    if uv is not None:
        return [
            [uv, "venv", "--quiet", "--python", sys.executable, folder],
            [uv, "pip", "install", "--python", python, *required],
        ]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--python", python]
    return [[sys.executable, "-m", "venv", "--without-pip", folder], [*pip, "install", *required]]


def _execute(command: Sequence[str], folder: Path, lock: int) -> None:
    """Have it print its progress here. Raises _Failed."""
    try:
        done = subprocess.run(command, cwd=folder, pass_fds=[lock], stdin=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise _Failed(f"{command[0]} could not be executed: {error.strerror}.") from error
    if done.returncode:
        raise _Failed(
            f"it could not be installed, for the reason above (exit code {done.returncode} of "
            f"{' '.join(command[:3])} …). Nothing of it is kept; correct the requirements and try again."
        )


def _mark(environment: Environment) -> None:
    """Say that it is complete, once all of it is on the disk."""
    os.sync()
    try:
        environment.mark.touch()
    except OSError as error:
        raise _Failed(f"{environment.mark} could not be written: {error.strerror}.") from error


def _prune(environments: Environments, workers: Sequence[Worker]) -> None:
    needed = {environment.folder for worker in workers if (environment := environments.of(worker))}
    for folder in sorted(environments.root.iterdir()):
        if folder.is_dir() and folder not in needed:
            shutil.rmtree(folder)
            console.print(f"Removed {folder}", markup=False)
