"""``branchline migrate``."""

from __future__ import annotations

import click

from runtime.settings import current
from runtime.store import migrate as migration


@click.command()
def migrate() -> None:
    """Upgrade the database schema to this version.

    Safe to call at every start, also by several processes at once.
    """
    url = current().database_url
    before = migration.current(url)
    migration.upgrade(url)
    now = migration.head()
    click.echo(
        f"The database is up to date ({now})."
        if before == now
        else f"Migrated from {before or 'nothing'} to {now}."
    )
