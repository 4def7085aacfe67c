"""Queued messages: what is sent to a run while it is under way.

They wait until the run's worker reads them, or until the run ends. After success those that
nobody has read begin the next run, which a task of the outbox sees to; it is written by the
transaction that ends the run. After any other end they rest. A message may be removed until it
is read.

That a run has some is marked on it (``steered``), by the statement that also finds out whether it
is still under way. So a message that is sent while its run ends is either refused or seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import Conflict, NotFound, StaleAttempt, TooMany
from runtime.model import Channel, Message, MessageType, QueuedMessage, Role, Run, RunStatus, new_id, utc_now
from runtime.store import files, outbox
from runtime.store import messages as tree
from runtime.store import runs as all_runs
from runtime.store.fence import guarded
from runtime.store.states import NewMessage
from runtime.store.tables import messages, now, queued_messages, runs

NEXT_RUN = "next_run"
"""The kind of the task to begin the run that messages were left for."""
MAX_WAITING = 100
"""Messages of a run that may wait at once."""
MAX_WAITING_BYTES = 8 << 20
"""Bytes that these may have together, their data as JSON."""
_RETRY_AFTER = 5


def add(
    c: Connection, workspace_id: str, run_id: str, new: Sequence[NewMessage]
) -> tuple[Run, list[QueuedMessage]]:
    """Queue messages for a run, in their order; the run, and the messages as they wait.

    Raises NotFound, Conflict where the run has ended, and TooMany.
    """
    run = _mark(c, workspace_id, run_id)
    new = files.name(c, workspace_id, run.thread_id, new)
    before = c.execute(_BEFORE.where(queued_messages.c.run_id == run_id)).one()
    sizes = [_size(message) for message in new]
    if before.waiting + len(new) > MAX_WAITING:
        raise TooMany(f"At most {MAX_WAITING} messages of a run may wait; {before.waiting} do.", _RETRY_AFTER)
    if before.size + sum(sizes) > MAX_WAITING_BYTES:
        message = f"The messages of a run that wait may have {MAX_WAITING_BYTES >> 20} MiB together."
        raise TooMany(message, _RETRY_AFTER)
    rows = [
        {
            "id": new_id(),
            "run_id": run_id,
            "number": before.last + offset,
            "role": message.role,
            "type": message.type,
            "channel": message.channel,
            "author": message.author,
            "content": message.content,
            "data": dict(message.data),
            "size": size,
            "created_at": before.moment,
            "files": message.files or None,
        }
        for offset, (message, size) in enumerate(zip(new, sizes, strict=True), 1)
    ]
    c.execute(queued_messages.insert(), rows)
    return run, [record([row[name] for name in _NAMES]) for row in rows]


def waiting(c: Connection, run_id: str) -> list[QueuedMessage]:
    """The messages that wait to be read, first come first; of an ended run those that nobody has read."""
    return [record(row) for row in c.execute(_WAITING_OF, {"run": run_id})]


def number_of_thread(c: Connection, thread_id: str) -> int:
    """How many messages wait to be read by runs of a thread, or have not been read by those that ended."""
    of_thread = sa.select(runs.c.id).where(runs.c.thread_id == thread_id)
    query = sa.select(sa.func.count()).where(queued_messages.c.run_id.in_(of_thread), _WAITS)
    return int(c.execute(query).scalar_one())


def remove(c: Connection, workspace_id: str, run_id: str, message_id: str) -> Run:
    """Remove a message that waits. Raises NotFound, and Conflict where it does not wait any more."""
    run = all_runs.get(c, workspace_id, run_id)
    this = queued_messages.c.id == message_id, queued_messages.c.run_id == run_id
    if c.execute(queued_messages.delete().where(*this, _WAITS)).rowcount:
        return run
    row = c.execute(sa.select(queued_messages.c.read_at).where(*this)).one_or_none()
    if row is None:
        raise NotFound("There is no such message.")
    raise Conflict("The worker has read the message." if row.read_at else "The message has begun a run.")


def look(c: Connection, run: Run, number: int, ahead: int = 0) -> bool:
    """Whether a message waits for the worker of an attempt, which looks for the ``number``-th time.

    Where none does, that look has found none, in later attempts too, nor have those ``ahead`` that
    follow it, unless they :func:`read` something. Raises StaleAttempt.
    """
    found_none = guarded(runs.update(), run).where(~_ANY_WAITS)
    if c.execute(found_none.values(inbox_reads=number + ahead)).rowcount:
        return False
    _hold(c, run)
    return True


def read(c: Connection, run: Run, number: int, position: int, before: Sequence[Message]) -> Message | None:
    """Give the worker of an attempt the first message that waits, in its ``number``-th look.

    It is committed into the run's output state at ``position``, after the messages ``before``.
    None where it was removed meanwhile. A look that was committed with a message before has found
    the same. Raises StaleAttempt.
    """
    _hold(c, run)
    this = {"run": run.id}
    row = c.execute(_READ_BY.where(queued_messages.c.read_number == number), this).one_or_none()
    if row is None:
        c.execute(runs.update().where(runs.c.id == run.id).values(inbox_reads=number))
        first = _CLAIM.with_only_columns(queued_messages.c.id).limit(1).scalar_subquery()
        reading = queued_messages.update().where(queued_messages.c.id == first)
        reading = reading.values(read_at=now(), read_number=number)
        row = c.execute(reading.returning(*COLUMNS), this).one_or_none()
    return _into_tree(c, run, record(row), position, before) if row else None


def read_again(
    c: Connection, run: Run, message: QueuedMessage, position: int, before: Sequence[Message]
) -> Message:
    """Give the worker a message that an earlier attempt has read, whose text is void. Raises StaleAttempt."""
    _hold(c, run)
    return _into_tree(c, run, message, position, before)


def reads_before(c: Connection, run: Run) -> list[QueuedMessage | None]:
    """What each look of the earlier attempts has found, in order."""
    query = _READ_BY.add_columns(queued_messages.c.read_number)
    found = {row[-1]: record(row[:-1]) for row in c.execute(query, {"run": run.id})}
    return [found.get(number) for number in range(1, run.inbox_reads + 1)]


def ids_of_read(c: Connection, run_id: str) -> set[str]:
    """Ids of the messages that the worker of a run has read, in any attempt."""
    return {row.id for row in c.execute(_READ_BY, {"run": run_id})}


def in_tree(message: QueuedMessage, run: Run, position: int) -> Message:
    """A message that was read, as it is in the output state of its run."""
    return Message(
        id=message.id,
        state_id=run.output_state_id,
        position=position,
        role=message.role,
        content=message.content,
        type=message.type,
        channel=message.channel,
        author=message.author,
        data=message.data,
        files=message.files,
        run_id=run.id,
        attempt=run.attempt,
        created_at=utc_now(),
    )


def ended(c: Connection, run: Run) -> None:
    """A run that is marked as steered has ended; to be called in the transaction that ends it.

    What is left of a sub-run rests: its caller has its result, and would learn of no other run.
    What is left of a turn belongs to its session, which learns of the end itself.
    """
    if run.status is RunStatus.SUCCESS and run.call_id is None and run.session_id is None:
        outbox.put(c, NEXT_RUN, run.id, {"run_id": run.id})


def claim(c: Connection, run_id: str) -> list[QueuedMessage]:
    """The messages that are left of a run. Until this transaction ends nobody else takes or removes them."""
    return [record(row) for row in c.execute(_CLAIM, {"run": run_id})]


def begin(c: Connection, begun: Sequence[QueuedMessage], next_run_id: str) -> None:
    """These have begun a run; to be called in the transaction that has claimed them."""
    ids = [message.id for message in begun]
    c.execute(queued_messages.update().where(queued_messages.c.id.in_(ids)).values(next_run_id=next_run_id))


def next_run(c: Connection, run_id: str) -> Run | None:
    """The run that was begun with what was left of this one."""
    query = sa.select(queued_messages.c.next_run_id).where(
        queued_messages.c.run_id == run_id, queued_messages.c.next_run_id.is_not(None)
    )
    next_id = c.execute(query.limit(1)).scalar_one_or_none()
    return all_runs.find(c, next_id) if next_id else None


def as_new(message: QueuedMessage) -> NewMessage:
    """A message as it is added to a state."""
    return NewMessage(
        message.role,
        message.content,
        message.type,
        message.channel,
        message.author,
        message.data,
        files=message.files,
    )


def record(row: Sequence[Any]) -> QueuedMessage:
    """The record of a row of :data:`COLUMNS`."""
    values: Mapping[str, Any] = dict(zip(_NAMES, row, strict=True))
    return QueuedMessage(
        **{
            **values,
            "role": Role(values["role"]),
            "type": MessageType(values["type"]),
            "channel": Channel(values["channel"]),
        }
    )


def _mark(c: Connection, workspace_id: str, run_id: str) -> Run:
    """Mark the run as steered; it stays as it is until this transaction ends. Raises NotFound, Conflict."""
    this = runs.c.id == run_id, runs.c.workspace_id == workspace_id, all_runs.IS_SHOWN
    marked = runs.update().where(*this, runs.c.finished_at.is_(None)).values(steered=True)
    row = c.execute(marked.returning(*all_runs.COLUMNS)).one_or_none()
    if row is not None:
        return all_runs.record(row)
    run = all_runs.get(c, workspace_id, run_id)
    raise Conflict(f"The run has ended: {run.status}. Begin another run with the messages.")


def _hold(c: Connection, run: Run) -> None:
    """Keep the run as it is until this transaction ends. Raises StaleAttempt."""
    held = guarded(sa.select(runs.c.id), run).with_for_update()
    if c.execute(held).one_or_none() is None:
        raise StaleAttempt


def _into_tree(
    c: Connection, run: Run, message: QueuedMessage, position: int, before: Sequence[Message]
) -> Message:
    placed = in_tree(message, run, position)
    tree.save(c, before)
    tree.place(c, placed)
    return placed


def _size(message: NewMessage) -> int:
    return len(message.content.encode()) + len(orjson.dumps(dict(message.data)))


_NAMES = list(QueuedMessage.__dataclass_fields__)
COLUMNS = [queued_messages.c[name] for name in _NAMES]
_RUN_HAS_ENDED = sa.exists().where(runs.c.id == queued_messages.c.run_id, runs.c.finished_at.is_not(None))
_STANDS = sa.exists().where(messages.c.id == queued_messages.c.id, ~messages.c.void)
"""That what was read is in the tree. What only a lost attempt has read is not: where no later one has
read it again, the answer that counts knows nothing of it."""
_WAITS = sa.and_(
    queued_messages.c.next_run_id.is_(None),
    sa.or_(queued_messages.c.read_at.is_(None), sa.and_(_RUN_HAS_ENDED, ~_STANDS)),
)
_WAITING_OF = (
    sa.select(*COLUMNS)
    .where(queued_messages.c.run_id == sa.bindparam("run", type_=queued_messages.c.run_id.type), _WAITS)
    .order_by(queued_messages.c.number)
)
_ANY_WAITS = sa.exists().where(queued_messages.c.run_id == runs.c.id, _WAITS).correlate(runs)
_CLAIM = _WAITING_OF.with_for_update(of=queued_messages)
_READ_BY = sa.select(*COLUMNS).where(
    queued_messages.c.run_id == sa.bindparam("run", type_=queued_messages.c.run_id.type),
    queued_messages.c.read_number.is_not(None),
)
_BEFORE = sa.select(
    sa.func.count(sa.case((_WAITS, 1))).label("waiting"),
    sa.func.coalesce(sa.func.sum(sa.case((_WAITS, queued_messages.c.size))), 0).label("size"),
    sa.func.coalesce(sa.func.max(queued_messages.c.number), 0).label("last"),
    now().label("moment"),
)
