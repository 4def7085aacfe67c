"""A PostgreSQL to measure on: the one that is given, one that is there, or one of our own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.testing.postgresql_server import NoPostgreSQL, PostgreSQLServer, answering

__all__ = ["NoPostgreSQL", "own", "server"]

HERE = "postgresql://postgres@127.0.0.1:5432/postgres"
"""Where a server is looked for that lets us in, as the tests do."""
_LIKE_A_DEPLOYED_ONE: dict[str, str] = {
    "shared_buffers": "256MB",
    "max_connections": "100",
    "fsync": "on",
}


@contextmanager
def server(given: str | None, folder: Path) -> Iterator[str]:
    """The URL of a server where databases may be made.

    ``given``, or one that answers on this machine, or one that we start in ``folder``
    from what is installed. Raises NoPostgreSQL.
    """
    found = given or answering(os.environ.get("BRANCHLINE_TEST_POSTGRESQL", HERE))
    if found:
        yield found
    else:
        with own(folder) as url:
            yield url


@contextmanager
def own(folder: Path, module: str = "", **options: str) -> Iterator[str]:
    """A new server in ``folder``, started from a program that has ``module``. Raises NoPostgreSQL."""
    with PostgreSQLServer(folder, module, settings={**_LIKE_A_DEPLOYED_ONE, **options}) as made:
        yield made.url
