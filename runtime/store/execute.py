"""What executes the queries of a function that does not care how.

Most functions of ``store`` are given a connection of SQLAlchemy. Those of the frequent steps are given
this instead, since PostgreSQL's engine executes their queries for half of what SQLAlchemy costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

Execute = Callable[[Any, Mapping[str, Any]], Sequence[Sequence[Any]]]
"""Executes a statement, which is made once and kept, with its parameters; all rows."""


def on(c: Connection) -> Execute:
    """Executes statements on a connection of SQLAlchemy."""
    return lambda statement, parameters: c.execute(statement, parameters).all()
