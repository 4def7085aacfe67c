"""``branchline index-vectors``."""

from __future__ import annotations

import click

from runtime.errors import ConfigurationError
from runtime.knowledge import hnsw
from runtime.knowledge.endpoint import Endpoint
from runtime.settings import current
from runtime.store import migrate


@click.command("index-vectors")
def index_vectors() -> None:
    """Index the vectors of the knowledge base, on a PostgreSQL with pgvector.

    Worth it from 100,000 passages on: a search does not compare all of them any more. It takes minutes,
    and keeps nobody waiting. Call it again after another embeddings model was configured.
    """
    settings = current()
    if not settings.embeddings.url:
        raise ConfigurationError("No embeddings endpoint is configured; set BRANCHLINE_EMBEDDINGS_URL.")
    with migrate.autocommit(settings.database_url) as connection:
        number = hnsw.build(connection, Endpoint(settings.embeddings).name)
    click.echo(f"{number:,} vectors are indexed." if number else "There are no vectors yet.")
