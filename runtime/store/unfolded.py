"""What an earlier version stored is not folded: it is done thread by thread, the newest first.

A message of ASCII needs nothing. Until a thread is done, its texts are searched as they are.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.store.folding import stored
from runtime.store.page import bytes_of, filled, within_bytes
from runtime.store.tables import Id, messages, runs, states, threads

_AT_ONCE = 500


def fold_some(c: Connection) -> bool:
    """Fold some messages of a thread, or its title if they are done. False where nothing is left."""
    thread = c.execute(_NEXT).one_or_none()
    if thread is None:
        return False
    found = c.execute(_messages(c.dialect.name), {"thread": thread.id})
    folded = [{"message": row.id, "text": stored(row.content)} for row in filled(found.all())]
    if folded:
        c.execute(_FOLD_MESSAGE, folded)
    else:
        done = threads.update().where(threads.c.id == thread.id)
        c.execute(done.values(folded=stored(thread.title)))
    return True


@cache
def _messages(dialect: str) -> sa.Select[Any]:
    """Some messages of a thread that are not folded, and not ASCII."""
    text = messages.c.content
    # What a run still writes may be written by a process of the version before, which does not fold it.
    is_written = sa.exists().where(runs.c.id == messages.c.run_id, runs.c.finished_at.is_(None))
    wanted = (
        sa.select(messages.c.id, text)
        .join(states, states.c.id == messages.c.state_id)
        .where(
            states.c.thread_id == sa.bindparam("thread", type_=Id),
            messages.c.folded.is_(None),
            bytes_of(text, dialect) != sa.func.length(text),
            ~is_written,
        )
        .order_by(messages.c.id.desc())
        .limit(_AT_ONCE)
    )
    return within_bytes(wanted, ("content",), ("id",), dialect)


# Locked, so that nobody renames the thread meanwhile.
_NEXT = (
    sa.select(threads.c.id, threads.c.title)
    .where(threads.c.folded == sa.literal_column("''"))  # as in the condition of the index
    .order_by(threads.c.updated_at.desc())
    .limit(1)
    .with_for_update(skip_locked=True)
)
_FOLD_MESSAGE = (
    messages.update()
    .where(messages.c.id == sa.bindparam("message", type_=Id), messages.c.folded.is_(None))
    .values(folded=sa.bindparam("text"))
)
