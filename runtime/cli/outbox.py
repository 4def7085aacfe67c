"""``branchline outbox``: what was to happen after a commit, and could not be carried out."""

from __future__ import annotations

import click

from runtime.cli.output import as_json, print_json
from runtime.cli.terminal import ago, console, print_table
from runtime.logs import printable
from runtime.services import Services
from runtime.settings import current
from runtime.store import Database, migrate, pools
from runtime.store import outbox as stored


@click.group()
def outbox() -> None:
    """List and replay what could not be carried out.

    What is to happen after a commit, such as a run with the messages that were left of another
    one, is tried for half an hour, and given up then.
    """


@outbox.command("list")
@as_json
def list_dead(json: bool) -> None:
    """List what was given up, the latest first, and why."""
    database = _database()
    dead = database.read(stored.dead)
    if json:
        print_json({"items": [task.encode() for task in dead]})
        return
    now = database.read(pools.time)
    rows = [
        (task.kind, task.key, ago(task.dead_at or now, now), printable(task.error or "")) for task in dead
    ]
    print_table(("Kind", "Key", "Given up", "Error"), rows)


@outbox.command()
@click.argument("key", required=False)
@click.option("--all", "everything", is_flag=True, help="All that was given up.")
def replay(key: str | None, everything: bool) -> None:
    """Try again what was given up: the one with this KEY, or all."""
    if everything == bool(key):
        raise click.UsageError("Name a key, or use --all.")
    count = _database().write(stored.replay, key)
    if key and not count:
        raise click.ClickException(f"Nothing with the key {key} was given up.")
    console.print(f"Tried again: {count}.", markup=False)


def _database() -> Database:
    settings = current()
    migrate.require(settings.database_url)
    return Services(settings).database
