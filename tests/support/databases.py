"""Databases of tests: which ones a test runs on, and a server that it may stop."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.testing.postgresql_server import NoPostgreSQL, PostgreSQLServer

ON_BOTH_DATABASES = pytest.mark.parametrize("stack_database_url", ["sqlite", "postgresql"], indirect=True)
"""For what the whole stack does otherwise on SQLite; the rest is tried there by `make soak` alone."""


@contextmanager
def own_postgresql(
    *, module: str = "", addresses: tuple[str, ...] = ("127.0.0.1",), **settings: str
) -> Iterator[PostgreSQLServer]:
    """A server for tests that stop it or cut it off, or that need a ``module`` of it.

    Skips them where none is installed.
    """
    folder = Path(tempfile.mkdtemp(prefix="branchline-"))  # PostgreSQL's user may not look into pytest's
    settings = {"fsync": "off", "shared_buffers": "16MB", **settings}
    try:
        try:
            server = PostgreSQLServer(folder / "postgresql", module, addresses=addresses, settings=settings)
        except NoPostgreSQL as reason:
            pytest.skip(str(reason))
        with server:
            yield server
    finally:
        shutil.rmtree(folder)
