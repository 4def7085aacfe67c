"""Bring a database to the newest migration.

Each process of a deployment may do so when it starts: one transaction, behind
a lock, migrates; the others wait and then find nothing to do. A migration that
fails leaves the database as it was. Only who migrates imports alembic: all others
ask where a database is, which a table and the names of files say.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.pool import NullPool

from runtime.errors import BranchlineError, ConfigurationError, StoreUnavailable
from runtime.settings import database_address
from runtime.store.dialects import lock_transaction
from runtime.store.engines import postgresql_connection
from runtime.store.engines.failures import is_away, lacks_right
from runtime.store.tables import metadata
from runtime.system.private_files import private_database

if TYPE_CHECKING:
    from alembic.config import Config

_SCRIPTS = Path(__file__).with_name("migrations")
_VERSIONS = sa.table("alembic_version", sa.column("version_num"))
_FIRST = frozenset({"threads", "states", "runs"})
"""Some of the tables that every migrated database has."""
_LOCK = 0x6272616E63686C6E  # any number, the same for every process
_LOCK_WAIT = 60  # seconds


def upgrade(url: str) -> None:
    """Bring the database at ``url`` to :func:`head`; make the file and its folder if it is SQLite.

    Raises StoreUnavailable where the database cannot be reached, ConfigurationError where it
    is another program's, its user may not migrate it, or a later version of Branchline has.
    """
    from alembic import command
    from alembic.util import CommandError

    with _transaction(url, alone=True) as connection:
        _refuse_foreign(connection)
        try:
            command.upgrade(_config(connection), "head")
        except CommandError as error:
            raise ConfigurationError(
                f"The database is of a later version of Branchline than this one, whose newest "
                f"migration is {head()}. Update Branchline, or use another database ({error})."
            ) from error


def current(url: str) -> str | None:
    """The newest migration that the database has; None for an empty one.

    Raises StoreUnavailable where it cannot be reached, ConfigurationError where it is another
    program's or its user may not read it.
    """
    with _transaction(url, alone=False) as connection:
        return _refuse_foreign(connection)


def head() -> str:
    """The newest migration there is."""
    return _known()[-1]


def require(url: str) -> None:
    """Raise ConfigurationError where the database lacks a migration; else as :func:`current`."""
    if is_behind(revision := current(url)):
        raise ConfigurationError(describe(revision))


@contextmanager
def autocommit(url: str) -> Iterator[sa.Connection]:
    """A connection for what takes long and cannot be part of a transaction, such as to make an index.

    Raises StoreUnavailable and ConfigurationError as :func:`current`.
    """
    engine = _engine(database_address.parse(url), "BEGIN")
    try:
        with engine.connect() as connection:
            yield connection.execution_options(isolation_level="AUTOCOMMIT")
    except exc.SQLAlchemyError as error:
        if translated := _translated(error):
            raise translated from error
        raise
    finally:
        engine.dispose()


def describe(revision: str | None) -> str:
    """How the migration of a database that is behind differs from ours, and what to do."""
    return f"The database is at {revision or 'nothing'}, not at {head()}. Run: branchline migrate"


def is_behind(revision: str | None) -> bool:
    """Whether the database at that migration lacks one that this version needs.

    A migration that this version does not know is of a later one, and leaves the database
    usable for the version before it.
    """
    return revision is None or revision in _known()[:-1]


def is_later(revision: str | None) -> bool:
    """Whether a later version of Branchline has migrated the database."""
    return not is_behind(revision) and revision != head()


@cache
def _known() -> list[str]:
    """All migrations, the first one first. The name of a file begins with that of its migration."""
    return sorted(path.name.partition("_")[0] for path in (_SCRIPTS / "versions").glob("*.py"))


def _refuse_foreign(connection: sa.Connection) -> str | None:
    """The newest migration that the database has; None for an empty one.

    Raises ConfigurationError where the tables are those of another program.
    """
    names = set(sa.inspect(connection).get_table_names())
    has = connection.scalar(sa.select(_VERSIONS.c.version_num)) if _VERSIONS.name in names else None
    ours = set(metadata.tables) & names
    if names >= _FIRST if has else not ours:
        return has
    shown = ", ".join(sorted(names)[:5])
    raise ConfigurationError(
        f"The database has tables of another program ({shown}). Give Branchline one of its own: create it, "
        "and set DATABASE_URL."
    )


def _config(connection: sa.Connection) -> Config:
    """What alembic has to know."""
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _transaction(url: str, *, alone: bool) -> Iterator[sa.Connection]:
    engine = _engine(database_address.parse(url), "BEGIN IMMEDIATE" if alone else "BEGIN")
    try:
        with engine.begin() as connection:
            if alone:
                lock_transaction(connection, _LOCK)
            yield connection
    except exc.SQLAlchemyError as error:
        if translated := _translated(error):
            raise translated from error
        raise
    finally:
        engine.dispose()


def _translated(error: exc.SQLAlchemyError) -> BranchlineError | None:
    """What an operator can mend; None where the fault is ours."""
    cause = getattr(error, "orig", error)
    if is_away(error):
        return StoreUnavailable(f"The database cannot be reached: {str(cause).strip()}")
    if lacks_right(error):
        return ConfigurationError(
            f"The user in DATABASE_URL lacks a right ({str(cause).strip()}). Make it the owner of the "
            "database: ALTER DATABASE name OWNER TO user"
        )
    if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
        return ConfigurationError(
            "The file that DATABASE_URL names is no SQLite database. Restore it from a backup, or "
            "name another."
        )
    return None


def _engine(where: database_address.Address, begin: str) -> sa.Engine:
    if isinstance(where, database_address.PostgreSQLServer):
        connect = partial(postgresql_connection.connect_once, where)
        return sa.create_engine(postgresql_connection.DRIVER, creator=connect, poolclass=NullPool)
    private_database(where.path)
    open_file = partial(sqlite3.connect, where.path, timeout=_LOCK_WAIT, isolation_level=None)
    engine = sa.create_engine("sqlite://", creator=open_file, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
