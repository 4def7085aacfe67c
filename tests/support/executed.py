"""The statements that a database is sent."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from runtime.store import Database


class Executed(list[bytes]):
    """The statements that psycopg executes while the ``with`` lasts, in any transaction."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        engine = database.engine.connections
        self._pooled = engine.raw_connection()
        engine.raw_connection().close()  # the one that they are executed on is set up already
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> Executed:
        execute = psycopg.Cursor.execute

        def note(cursor: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
            self.append(query)
            return execute(cursor, query, *args, **kwargs)

        self._patch.setattr(psycopg.Cursor, "execute", note)
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()
        self._pooled.close()
