"""What alembic runs for every command; :mod:`runtime.store.migrate` gives it the connection."""

from __future__ import annotations

from alembic import context

from runtime.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # on SQLite too: migrate begins the transaction itself
    render_as_batch=True,
)
context.run_migrations()
