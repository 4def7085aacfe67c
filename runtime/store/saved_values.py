"""Saved values: the results of a run's durable steps, committed under the fence of its attempt.

The first value of a key stays. So a step whose result was paid for counts once, whatever
becomes of the attempt that has taken it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import StaleAttempt, TooMuchSaved
from runtime.model import Json, Run
from runtime.store.dialects import insert_new
from runtime.store.fence import guarded
from runtime.store.tables import IS_RUNNING, Id, runs, saved_values

MAX_SIZE = 16 << 20
"""Bytes that all saved values of a run may have together."""
_OVERHEAD = 256
"""Bytes that each counts in addition to key and value, so that empty ones are bounded too."""


@dataclass(frozen=True, slots=True)
class SavedValue:
    """The result of a durable step."""

    key: str
    value: str
    """JSON in ASCII, exactly as it was first said."""
    digest: str | None = None
    """Of what was asked, by whoever saved it; opaque here."""

    @property
    def size(self) -> int:
        """What it counts, in bytes."""
        return _OVERHEAD + len(self.key.encode()) + len(self.value)


def save(c: Connection, run: Run, new: SavedValue, usage: Mapping[str, Json] | None = None) -> SavedValue:
    """Save a value in a running attempt; the one that counts, which is an earlier one of that key.

    ``usage``: what the run has used by now, where the step has used something. Raises
    StaleAttempt, and TooMuchSaved.
    """
    values = {
        "this_run": run.id,
        "this_attempt": run.attempt,
        "new_key": new.key,
        "new_value": new.value,
        "new_digest": new.digest,
        "new_size": new.size,
        "room": MAX_SIZE - new.size,
    }
    if c.execute(_SAVE[c.dialect.name], values).one_or_none() is None:
        return _not_saved(c, run, new.key)
    if usage is not None:
        c.execute(guarded(runs.update(), run).values(usage=usage))
    return new


def of_run(c: Connection, run_id: str) -> list[SavedValue]:
    """All that a run has saved."""
    return [SavedValue(*row) for row in c.execute(OF_RUN, {"this_run": run_id})]


def forget(c: Connection) -> None:
    """Delete what runs have saved that have ended."""
    ended = sa.select(runs.c.id).where(runs.c.id == saved_values.c.run_id, runs.c.finished_at.is_not(None))
    c.execute(saved_values.delete().where(ended.exists()))


def _not_saved(c: Connection, run: Run, key: str) -> SavedValue:
    if c.execute(guarded(sa.select(runs.c.id), run)).one_or_none() is None:
        raise StaleAttempt
    row = c.execute(OF_RUN.where(saved_values.c.key == key), {"this_run": run.id}).one_or_none()
    if row is None:
        raise TooMuchSaved(f"a run may save {MAX_SIZE >> 20} MiB")
    return SavedValue(*row)


_RUN = sa.bindparam("this_run", type_=Id)
OF_RUN = sa.select(saved_values.c.key, saved_values.c.value, saved_values.c.digest).where(
    saved_values.c.run_id == _RUN
)
_SAVED_SIZE = (
    sa.select(sa.func.coalesce(sa.func.sum(saved_values.c.size), 0))
    .where(saved_values.c.run_id == _RUN)
    .scalar_subquery()
)
_SAVE = insert_new(
    saved_values,
    sa.select(
        runs.c.id,
        sa.bindparam("new_key", type_=sa.Text),
        sa.bindparam("new_digest", type_=sa.Text),
        sa.bindparam("new_value", type_=sa.Text),
        sa.bindparam("new_size", type_=sa.Integer),
        runs.c.attempt,
    )
    .where(
        runs.c.id == _RUN,
        runs.c.attempt == sa.bindparam("this_attempt", type_=sa.Integer),
        IS_RUNNING,
        sa.bindparam("room", type_=sa.Integer) >= _SAVED_SIZE,
    )
    .with_for_update(key_share=True),
    returning="key",
)
