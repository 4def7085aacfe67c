"""Bring a database to the newest migration.

Each process of a deployment may do so when it starts: one transaction, behind
a lock, migrates; the others wait and then find nothing to do. A migration that
fails leaves the database as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import event, exc
from sqlalchemy.pool import NullPool

from runtime.errors import ConfigurationError, StoreUnavailable
from runtime.store.database import with_driver
from runtime.store.dialects import lock_transaction
from runtime.store.engines.failures import is_away
from runtime.system.private_files import private_database

_SCRIPTS = Path(__file__).with_name("migrations")
_LOCK = 0x6272616E63686C6E  # any number, the same for every process
_LOCK_WAIT = 60  # seconds


def upgrade(url: str) -> None:
    """Bring the database at ``url`` to :func:`head`; make the file and its folder if it is SQLite.

    Raises StoreUnavailable where the database cannot be reached,
    ConfigurationError where a later version of Branchline has migrated it.
    """
    with _transaction(url, alone=True) as connection:
        config = _config()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise ConfigurationError(
                f"The database is of a later version of Branchline than this one, whose newest "
                f"migration is {head()}. Update Branchline, or use another database ({error})."
            ) from error


def current(url: str) -> str | None:
    """The newest migration that the database has; None for an empty one.

    Raises StoreUnavailable where it cannot be reached.
    """
    with _transaction(url, alone=False) as connection:
        return MigrationContext.configure(connection).get_current_revision()


@cache
def head() -> str:
    """The newest migration there is."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    assert newest is not None
    return newest


def is_behind(revision: str | None) -> bool:
    """Whether the database at that migration lacks one that this version needs.

    A migration that this version does not know is of a later one, and leaves the database
    usable for the version before it.
    """
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    return revision is None or (revision in known and revision != head())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _transaction(url: str, *, alone: bool) -> Iterator[sa.Connection]:
    engine = _engine(with_driver(url), "BEGIN IMMEDIATE" if alone else "BEGIN")
    try:
        with engine.begin() as connection:
            if alone:
                lock_transaction(connection, _LOCK)
            yield connection
    except exc.SQLAlchemyError as error:
        if not is_away(error):
            raise
        cause = getattr(error, "orig", error)
        raise StoreUnavailable(f"The database cannot be reached: {cause}") from error
    finally:
        engine.dispose()


def _engine(url: sa.URL, begin: str) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": 5})
    if url.database:
        private_database(Path(url.database))
    engine = sa.create_engine(
        url, poolclass=NullPool, connect_args={"timeout": _LOCK_WAIT, "isolation_level": None}
    )

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
