"""Summaries of what the windows of runs leave out, and the messages that they are made of.

A summary is kept for the last message that it covers. It holds for every run whose input state is
that message's, or below that: a branch that leaves the conversation before has none of it. The next
one on a branch is made of it and of the messages that have slid out of the window since.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.model import Json, Message, Role, Run, RunStatus, encode_time, new_id
from runtime.store import follow_ups, messages, outbox, runs, states
from runtime.store.tables import Id, Time, now, summaries, threads
from runtime.store.tables import runs as runs_table
from runtime.store.tables import states as states_table

AUTHOR: Final = "summary"
"""The author of the message that gives a run a summary."""
FARTHEST = 1_000
"""States back from a run in which its summary is looked for."""
_LONGEST_PATH = 5_000
"""States back from the end of a run in which messages are summed up that no summary covers."""
_AT_ONCE = 50
"""States whose messages are read together."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What was said at the beginning of a conversation."""

    id: str
    state_id: str
    """Of the last message that it covers."""
    position: int
    """Of that in its state."""
    messages: int
    """How many it covers, all from the first one on."""
    content: str
    created_at: datetime

    def encode(self) -> dict[str, Json]:
        """The summary as the API shows it."""
        return {
            "state_id": self.state_id,
            "messages": self.messages,
            "content": self.content,
            "created_at": encode_time(self.created_at),
        }

    def as_message(self) -> Message:
        """As a run is given it."""
        return Message(
            self.id,
            self.state_id,
            self.position,
            Role.SYSTEM,
            f"Summary of the first {self.messages} messages of this conversation:\n\n{self.content}",
            author=AUTHOR,
            created_at=self.created_at,
        )


@dataclass(frozen=True, slots=True)
class Slid:
    """What has slid out of the window by the end of a run, and no summary covers yet."""

    thread_id: str
    previous: Summary | None
    """The newest summary on the way to there."""
    messages: Sequence[Message]
    """Some of the messages behind that, oldest first."""

    @property
    def covers(self) -> dict[str, Json]:
        """What the next summary covers, see :class:`Summary`."""
        last, before = self.messages[-1], self.previous.messages if self.previous else 0
        return {
            "state_id": last.state_id,
            "position": last.position,
            "messages": before + len(self.messages),
        }


@dataclass(frozen=True, slots=True)
class Helper:
    """The run that makes a summary, on a thread of its own."""

    run: Run
    task: str
    """The task of the outbox that waits for it."""


def record(row: Sequence[Any]) -> Summary:
    """The record of a row of :data:`NEWEST`."""
    return Summary(*row[: len(_COLUMNS)])


def before(state_id: str, moment: datetime | None = None) -> dict[str, Any]:
    """The parameters of :data:`NEWEST`: on the way to a state, of those that were there at a moment.

    None: of all that are there.
    """
    return {"start": state_id, "moment": moment or _NEVER, "farthest": FARTHEST}


def newest(c: Connection, state_id: str) -> Summary | None:
    """The newest summary on the way from the root to a state."""
    row = c.execute(NEWEST, before(state_id)).one_or_none()
    return record(row) if row else None


def slid(c: Connection, run: Run, most: int, characters: int) -> Slid | None:
    """What has slid out of a run's window by its end, at most so many messages and characters of them.

    None where that is nothing, or where the thread is not there any more, or in no list.
    """
    if run.window is None or not c.execute(_IS_LISTED, {"thread": run.thread_id}).one_or_none():
        return None
    kept = states.window(c, run.output_state_id, run.window["size"])
    previous = newest(c, run.output_state_id)
    if not kept:
        return None
    found: list[Message] = []
    for message in _between(c, run.output_state_id, previous):
        if message.id == kept[0].id or len(found) == most or (found and characters <= 0):
            break
        found.append(message)
        characters -= len(message.content)
    return Slid(run.thread_id, previous, found) if found else None


def helpers(c: Connection, thread_id: str) -> list[Helper]:
    """The runs that make summaries of a thread, and whose tasks have not taken note of their ends."""
    rows = c.execute(_HELPERS, {"thread": thread_id}).all()
    return [Helper(run, run.awaited_by) for run in map(runs.record, rows) if run.awaited_by]


def goes_on(c: Connection, run: Run) -> bool:
    """Whether the conversation has gone on behind a run; the end of that has a task of its own."""
    query = sa.select(states_table.c.children).where(states_table.c.id == run.output_state_id)
    return bool(c.execute(query).scalar_one_or_none())


def keep(c: Connection, helper: Run, content: str) -> None:
    """Keep what a run has made for the last message that it covers, unless that has a summary.

    Its thread has done its work.
    """
    thread_id, covered = helper.args["summary_of"], helper.args["covers"]
    subject = sa.select(threads.c.id).where(threads.c.id == thread_id).with_for_update()
    if c.execute(subject).first() and not c.execute(_AT, covered).first():
        made = {"id": new_id(), "thread_id": thread_id, "content": content, "run_id": helper.id}
        c.execute(summaries.insert().values(created_at=now()), {**made, **covered})
    dismiss(c, helper)


def dismiss(c: Connection, helper: Run) -> None:
    """The thread of a helper has done its work; where that asks something, it is cancelled."""
    c.execute(threads.update().where(threads.c.id == helper.thread_id).values(deleted_at=now()))
    if helper.status is RunStatus.WAITING:
        runs.cancel(c, None, helper.id)


def _between(c: Connection, state_id: str, previous: Summary | None) -> Iterator[Message]:
    """The messages behind what a summary covers, up to a state, oldest first."""
    stop = previous.state_id if previous else _NOWHERE
    path = list(c.execute(_PATH, {"start": state_id, "stop": stop, "farthest": _LONGEST_PATH}).scalars())
    for start in range(0, len(path), _AT_ONCE):
        part = path[start : start + _AT_ONCE]
        read = messages.of_states(c, part)
        for state in part:
            for message in read:
                covered = previous is not None and state == stop and message.position <= previous.position
                if message.state_id == state and not covered:
                    yield message


def _newest() -> sa.Select[Any]:
    here = (
        sa.select(summaries.c.id)
        .where(
            summaries.c.state_id == states_table.c.id,
            summaries.c.created_at <= sa.bindparam("moment", type_=Time),
        )
        .order_by(summaries.c.position.desc())
        .limit(1)
        .correlate(states_table)
        .scalar_subquery()
    )
    farthest = sa.bindparam("farthest", type_=sa.Integer)
    walk = (
        sa.select(
            states_table.c.parent_id,
            states_table.c.depth,
            (states_table.c.depth - farthest).label("floor"),
            here.label("found"),
        )
        .where(states_table.c.id == sa.bindparam("start", type_=Id))
        .cte("walk", recursive=True)
    )
    above = (
        sa.select(states_table.c.parent_id, states_table.c.depth, walk.c.floor, here)
        .join(walk, states_table.c.id == walk.c.parent_id)
        .where(walk.c.found.is_(sa.null()), states_table.c.depth > walk.c.floor)
    )
    walk = walk.union_all(above)
    found = sa.select(walk.c.found).where(walk.c.found.is_not(sa.null())).limit(1).scalar_subquery()
    return sa.select(*_COLUMNS).where(summaries.c.id == found)


def _path() -> sa.Select[Any]:
    farthest = sa.bindparam("farthest", type_=sa.Integer)
    walk = (
        sa.select(
            states_table.c.id,
            states_table.c.parent_id,
            states_table.c.depth,
            (states_table.c.depth - farthest).label("floor"),
        )
        .where(states_table.c.id == sa.bindparam("start", type_=Id))
        .cte("walk", recursive=True)
    )
    walk = walk.union_all(
        sa.select(states_table.c.id, states_table.c.parent_id, states_table.c.depth, walk.c.floor)
        .join(walk, states_table.c.id == walk.c.parent_id)
        .where(walk.c.id != sa.bindparam("stop", type_=Id), states_table.c.depth > walk.c.floor)
    )
    return sa.select(walk.c.id).order_by(walk.c.depth)


_NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_NOWHERE = str(UUID(int=0))
"""The id of no state."""
_COLUMNS = [summaries.c[name] for name in Summary.__dataclass_fields__]
_THREAD = sa.bindparam("thread", type_=Id)
NEWEST = _newest()
"""The newest summary on the way from the root to a state; see :func:`before`."""
_PATH = _path()
"""The states from one to another one above it, which comes first."""
_AT = sa.select(summaries.c.id).where(
    summaries.c.state_id == sa.bindparam("state_id", type_=Id),
    summaries.c.position == sa.bindparam("position", type_=sa.Integer),
)
_IS_LISTED = sa.select(threads.c.id).where(
    threads.c.id == _THREAD, threads.c.titles.is_(None), threads.c.deleted_at.is_(None)
)
_HELPERS = (
    sa.select(*runs.COLUMNS)
    .join(threads, threads.c.id == runs_table.c.thread_id)
    .where(
        threads.c.titles == _THREAD,
        threads.c.deleted_at.is_(None),
        runs_table.c.awaited_by.startswith(outbox.name_of(follow_ups.SUM_UP, "")),
    )
    .order_by(runs_table.c.created_at, runs_table.c.id)
)
