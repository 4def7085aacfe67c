"""Optimistic changes: decided by what was read before, and made only if that has not changed since.

Who locks, reads, decides and writes needs a round trip for each of these. Where all was read
already, PostgreSQL needs one: :meth:`Engine.apply`, or :meth:`Engine.accept_with` where a run is
accepted with the change.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

T_co = TypeVar("T_co", covariant=True)


class OptimisticChange(Protocol[T_co]):
    """A change, as functions of ``store`` make it and as one statement of PostgreSQL does.

    ``T`` is what there is since.
    """

    def make(self, c: Connection) -> T_co:
        """Make it, in a transaction. Raises Conflict if what it was decided by has changed."""
        ...

    def made(self, moment: datetime) -> T_co:
        """What there is once PostgreSQL has made it, at that moment."""
        ...

    @property
    def guard(self) -> bytes:
        """For PostgreSQL: a query that locks a row, and finds none if what was read has changed."""
        ...

    @property
    def changes(self) -> bytes:
        """For PostgreSQL: what is written, as members of a WITH clause which begins with ``parent``. That
        has one row, with ``moment``, if the change may be made, and none otherwise."""
        ...

    @property
    def values(self) -> Mapping[str, Any]:
        """The parameters of both."""
        ...
