"""Where the database is: DATABASE_URL, which is read here for all who connect.

``postgresql://…`` is read by libpq, as psql and pg_dump read it: it may have several hosts,
a directory of sockets, ``service=``, ``options=`` and all other parameters of libpq. What it
leaves out comes from PGHOST, PGSERVICEFILE, ~/.pgpass and the like.

``sqlite:///`` is followed by the path of a file, which is taken as it is written: a space is
a space, and ``%20`` is three characters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from runtime.errors import ConfigurationError
from runtime.settings import CHECKOUT

_SQLITE = ("sqlite", "sqlite+pysqlite")
_POSTGRESQL = ("postgresql", "postgres", "postgresql+psycopg")
"""``postgresql+psycopg`` is what SQLAlchemy calls it, whose URLs were those of earlier versions."""
_SECRET = b"*"
"""How libpq marks parameters that are not to be shown."""
_EXAMPLES = "postgresql://USER:PASSWORD@HOST/DATABASE, or sqlite:////folder/file.db"


@dataclass(frozen=True, slots=True)
class SQLiteFile:
    """An SQLite database: a file."""

    path: Path

    @classmethod
    def parse(cls, rest: str) -> Self:
        """``rest``: what follows ``sqlite://``. A relative path begins at the checkout."""
        if not rest.startswith("/") or rest in ("/", "/:memory:"):
            raise ConfigurationError(
                "DATABASE_URL names no file: write sqlite:////folder/file.db, with four slashes. "
                "A database in memory would be another one in each process."
            )
        if "?" in rest:
            raise ConfigurationError("DATABASE_URL has options after ?, but SQLite takes none here.")
        # Processes have different working directories.
        return cls(CHECKOUT / rest[1:])

    def __str__(self) -> str:
        return f"sqlite:///{self.path}"


@dataclass(frozen=True, slots=True)
class PostgreSQLServer:
    """A PostgreSQL database: the parameters with which libpq finds it."""

    parameters: dict[str, Any]
    _shown: str

    @classmethod
    def parse(cls, rest: str) -> Self:
        """``rest``: what follows ``postgresql://``."""
        try:
            found = pq.Conninfo.parse(f"postgresql://{rest}".encode())
        except psycopg.Error as error:
            # What libpq quotes may be a part of the password.
            why = re.sub(r'[,:]? "[^"]*"', "", str(error)).split(",")[0].strip()
            raise ConfigurationError(
                f"DATABASE_URL cannot be read ({why}). Is there a character in its password that must be "
                "written as %XX, such as a space (%20), / (%2F), # (%23), % (%25) or @ (%40)?"
            ) from None
        given = [(option.keyword.decode(), option) for option in found if option.val is not None]
        parameters: dict[str, Any] = {name: (option.val or b"").decode() for name, option in given}
        for port in filter(None, parameters.get("port", "").split(",")):
            if not (port.isascii() and port.isdecimal()):
                raise ConfigurationError(
                    "DATABASE_URL has a port that is no number. Is there a / in its password? Write %2F."
                )
        if "@" in parameters.get("host", ""):
            raise ConfigurationError("DATABASE_URL has an @ in its password or its host; write it as %40.")
        secret = {name for name, option in given if option.dispchar == _SECRET}
        shown = {name: value for name, value in parameters.items() if name not in secret}
        return cls(parameters, make_conninfo(**shown))

    def __str__(self) -> str:
        return f"postgresql ({self._shown})"


Address = SQLiteFile | PostgreSQLServer


def parse(url: str) -> Address:
    """The address that DATABASE_URL is. Raises ConfigurationError, whose text shows no password."""
    scheme, found, rest = url.partition("://")
    if not found:
        raise ConfigurationError(f"DATABASE_URL is not a URL; write {_EXAMPLES}.")
    if scheme in _SQLITE:
        return SQLiteFile.parse(rest)
    if scheme in _POSTGRESQL:
        return PostgreSQLServer.parse(rest)
    raise ConfigurationError(f"DATABASE_URL is of a kind that Branchline does not use; write {_EXAMPLES}.")
