"""``branchline check``: whether the settings and worker folders are valid."""

from __future__ import annotations

import os
import sys

import click
from rich.markup import escape

from runtime.child.sandboxing import Sandboxing
from runtime.cli import imports
from runtime.cli.output import as_json, print_json
from runtime.cli.terminal import console, print_table
from runtime.logs import printable
from runtime.registry import Registry, Worker, discover
from runtime.settings import current, database_address


@click.command()
@as_json
def check(json: bool) -> None:
    """Check the settings and every worker folder; exit code 1 if any folder or worker is broken.

    Each worker is imported, in a process and sandbox of its own, as its pool does it. One that only
    lacks an environment variable or a module here is not broken: its pool may have them.
    """
    settings = current()
    database_address.parse(settings.database_url)
    found = discover(settings.worker_folders)
    found = Registry(found.workers, {**found.broken, **_without_summaries(found)})
    sandboxing = Sandboxing(settings, os.environ)
    imported = imports.examine(found.workers.values(), settings)
    if json:
        print_json(_report(found, sandboxing, imported))
    else:
        _show(found, sandboxing, imported, [str(folder) for folder in settings.worker_folders])
    is_broken = not all(map(imports.lacks_package, imported.failures.values()))
    sys.exit(1 if found.broken or is_broken else 0)


def _without_summaries(found: Registry) -> dict[str, str]:
    """The folders of workers whose window names a worker for summaries that is not there, and which."""
    return {
        str(
            worker.folder
        ): f"its window.summary names the worker {worker.summary_worker!r}, which is not there"
        for worker in found.workers.values()
        if worker.summary_worker is not None and worker.summary_worker not in found.workers
    }


def _report(found: Registry, sandboxing: Sandboxing, imported: imports.Imports) -> dict[str, object]:
    workers = [
        {
            "id": w.id,
            "name": w.name,
            "type": w.type,
            "pool": w.pool,
            "unavailable": _unavailable(w, sandboxing, imported),
        }
        for w in found.workers.values()
    ]
    sandboxes = {worker.id: sandboxing.report(worker) for worker in found.workers.values()}
    return {
        "workers": workers,
        "sandboxes": sandboxes,
        "broken": dict(found.broken),
        "failed": dict(imported.failures),
        "notes": dict(imported.notes),
    }


def _unavailable(worker: Worker, sandboxing: Sandboxing, imported: imports.Imports) -> str | None:
    return worker.unavailable(os.environ) or sandboxing.refusal(worker) or imported.failures.get(worker.id)


def _sandboxes(found: Registry, sandboxing: Sandboxing) -> dict[str, list[str]]:
    """What is in force, and of which workers."""
    described: dict[str, list[str]] = {}
    for worker in found.workers.values():
        if not worker.type.elsewhere:
            described.setdefault(sandboxing.policy(worker).in_force.describe(), []).append(worker.id)
    return described


def _show(found: Registry, sandboxing: Sandboxing, imported: imports.Imports, folders: list[str]) -> None:
    console.print("The settings are valid.")
    if found.workers:
        rows = [
            (w.id, w.type, w.pool, _unavailable(w, sandboxing, imported) or "ready")
            for w in found.workers.values()
        ]
        print_table(("Worker", "Type", "Pool", "Status here"), rows)
        for text, ids in _sandboxes(found, sandboxing).items():
            console.print(printable(f"Sandbox here of {', '.join(ids)}: {text}"), markup=False)
        for worker_id, note in imported.notes.items():
            console.print(printable(f"{worker_id}: {note}"), markup=False)
    elif not found.broken:
        console.print(f"No workers found in {printable(', '.join(folders))}.", markup=False)
    for folder, problem in found.broken.items():
        console.print(f"[red]broken[/] {escape(printable(f'{folder}: {problem}'))}", markup=True)
