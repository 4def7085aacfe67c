"""``branchline check``: whether the settings and worker folders are valid."""

from __future__ import annotations

import os
import sys

import click
from rich.markup import escape

from runtime.child.sandboxing import Sandboxing
from runtime.cli.output import as_json, print_json
from runtime.cli.terminal import console, print_table
from runtime.logs import printable
from runtime.registry import Registry, Worker, WorkerType, discover
from runtime.settings import current, database_address


@click.command()
@as_json
def check(json: bool) -> None:
    """Check the settings and every worker folder; exit code 1 if any folder is broken.

    A worker that only lacks an environment variable here is not broken: the variable
    may be set where its pool runs.
    """
    settings = current()
    database_address.parse(settings.database_url)
    found = discover(settings.worker_folders)
    sandboxing = Sandboxing(settings, os.environ)
    if json:
        print_json(_report(found, sandboxing))
    else:
        _show(found, sandboxing, [str(folder) for folder in settings.worker_folders])
    sys.exit(1 if found.broken else 0)


def _report(found: Registry, sandboxing: Sandboxing) -> dict[str, object]:
    workers = [
        {
            "id": w.id,
            "name": w.name,
            "type": w.type,
            "pool": w.pool,
            "unavailable": _unavailable(w, sandboxing),
        }
        for w in found.workers.values()
    ]
    sandboxes = {worker.id: sandboxing.report(worker) for worker in found.workers.values()}
    return {"workers": workers, "sandboxes": sandboxes, "broken": dict(found.broken)}


def _unavailable(worker: Worker, sandboxing: Sandboxing) -> str | None:
    return worker.unavailable(os.environ) or sandboxing.refusal(worker)


def _sandboxes(found: Registry, sandboxing: Sandboxing) -> dict[str, list[str]]:
    """What is in force, and of which workers."""
    described: dict[str, list[str]] = {}
    for worker in found.workers.values():
        if worker.type is not WorkerType.HTTP:
            described.setdefault(sandboxing.policy(worker).in_force.describe(), []).append(worker.id)
    return described


def _show(found: Registry, sandboxing: Sandboxing, folders: list[str]) -> None:
    console.print("The settings are valid.")
    if found.workers:
        rows = [
            (w.id, w.type, w.pool, _unavailable(w, sandboxing) or "ready") for w in found.workers.values()
        ]
        print_table(("Worker", "Type", "Pool", "Status here"), rows)
        for text, ids in _sandboxes(found, sandboxing).items():
            console.print(printable(f"Sandbox here of {', '.join(ids)}: {text}"), markup=False)
    elif not found.broken:
        console.print(f"No workers found in {printable(', '.join(folders))}.", markup=False)
    for folder, problem in found.broken.items():
        console.print(f"[red]broken[/] {escape(printable(f'{folder}: {problem}'))}", markup=True)
