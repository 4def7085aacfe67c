"""``branchline runs``: list, show and cancel runs, directly in the database."""

from __future__ import annotations

from datetime import datetime

import click
from rich.markup import escape

from runtime.cli.output import as_json, print_json
from runtime.cli.terminal import ago, console, print_table
from runtime.dispatch import Dispatcher, encode_wait
from runtime.errors import NotFound
from runtime.logs import printable
from runtime.model import Run, RunError, RunStatus
from runtime.services import Services
from runtime.settings import current
from runtime.store import backlog, migrate, pools
from runtime.store import runs as stored

_STATUSES = click.Choice([status.value for status in RunStatus])


@click.group()
def runs() -> None:
    """List, show and cancel runs, of every user."""


@runs.command("list")
@click.option("--status", type=_STATUSES, help="Only runs with this status.")
@click.option("--worker", "worker_id", help="Only runs of this worker.")
@click.option("--thread", "thread_id", type=click.UUID, help="Only runs on this thread.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@as_json
def list_runs(
    status: str | None, worker_id: str | None, thread_id: str | None, limit: int, json: bool
) -> None:
    """List runs, newest first."""
    database = _services().database
    page = database.read(
        stored.listing,
        None,
        status=RunStatus(status) if status else None,
        worker_id=worker_id,
        thread_id=str(thread_id) if thread_id else None,
        limit=limit,
    )
    if json:
        print_json({"items": [run.encode() for run in page.items]})
        return
    now = database.read(pools.time)
    rows = [
        (r.id, r.worker_id, r.status, str(r.attempt), ago(r.created_at, now), _duration(r, now))
        for r in page.items
    ]
    print_table(("Run", "Worker", "Status", "Attempt", "Created", "Duration"), rows)
    if page.next:
        console.print(f"Older runs are not shown; use --limit {limit * 5} to see more.", style="dim")


@runs.command()
@click.argument("run_id", type=click.UUID)
@as_json
def show(run_id: object, json: bool) -> None:
    """Show one run: its status, what it waits for, its steps and its log."""
    services = _services()
    run = _find(services, str(run_id))
    database = services.database
    settings = services.settings
    wait = database.read(backlog.explain_wait, run, settings.pool.lease, settings.limits.running_per_user)
    why = encode_wait(wait)
    steps = database.read(stored.steps, run.id)
    logs = database.read(stored.logs, run.id)
    if json:
        print_json({"run": run.encode(), "queued": why, "steps": steps, "log": logs})
        return
    _describe(run, database.read(pools.time))
    if why:
        console.print(f"Position {why['position']} in its queue: {printable(why['message'])}", markup=False)
    for step in steps:
        console.print(f"step: {printable(step['description'])}", markup=False)
    for log in logs:
        console.print(f"log of attempt {log['attempt']}:", style="dim")
        console.print(log["text"], markup=False)


@runs.command()
@click.argument("run_id", type=click.UUID)
@as_json
def cancel(run_id: object, json: bool) -> None:
    """Cancel a run; its output so far is kept."""
    services = _services()
    run = Dispatcher(services).cancel(None, _find(services, str(run_id)).id)
    if json:
        print_json({"run": run.encode()})
    elif run.status.terminal:
        click.echo(f"The run is {run.status}.")
    else:
        click.echo("The run is being cancelled.")


def _find(services: Services, run_id: str) -> Run:
    run = services.database.read(stored.find, run_id)
    if run is None:
        raise NotFound(f"There is no run {run_id}.")
    return run


def _duration(run: Run, now: datetime) -> str | None:
    if run.started_at is None:
        return None
    return f"{((run.finished_at or now) - run.started_at).total_seconds():.1f} s"


def _reason(error: RunError | None) -> str | None:
    return f"{error.code}: {error.message}" if error else None


def _describe(run: Run, now: datetime) -> None:
    console.print(f"[bold]{run.id}[/]  {run.status}")
    for name, value in (
        ("worker", run.worker_id),
        ("pool", run.pool),
        ("thread", run.thread_id),
        ("attempt", f"{run.attempt} ({run.failures} of {run.max_attempts} lost or failed)"),
        ("duration", _duration(run, now)),
        ("held by", run.claimed_by if run.status is RunStatus.RUNNING else None),
        ("failure", _reason(run.last_failure)),
        ("error", _reason(run.error)),
    ):
        if value is not None:
            console.print(f"  {name:8} {escape(printable(value))}")


def _services() -> Services:
    services = Services(current())
    migrate.require(services.settings.database_url)
    return services
