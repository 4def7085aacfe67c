"""Messages as rows: saving those that a run writes, and reading those of a state."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.model import Channel, Json, Message, MessageStatus, MessageType, Role, Run, utc_now
from runtime.store.dialects import upsert
from runtime.store.folding import stored
from runtime.store.tables import Id, messages, runs

COLUMNS = [messages.c[name] for name in Message.__dataclass_fields__]
_NAMES = [column.name for column in COLUMNS]
_DECODED: list[tuple[int, Mapping[str, StrEnum]]] = [
    (_NAMES.index(name), {member.value: member for member in kind})
    for name, kind in (("role", Role), ("type", MessageType), ("channel", Channel), ("status", MessageStatus))
]
"""Looked up, which costs half of what a call of the enum does: a run may begin by reading hundreds."""


def record(row: Sequence[Any]) -> Message:
    """The record of a row that begins with :data:`COLUMNS`."""
    values = list(row[: len(COLUMNS)])
    for index, members in _DECODED:
        values[index] = members[values[index]]
    return Message(*values)


def save(c: Connection, written: Sequence[Message]) -> None:
    """Insert messages, or replace the text of those that were saved while still open."""
    if written:
        c.execute(_SAVE[c.dialect.name], [_values(message) for message in written])


def place(c: Connection, message: Message) -> None:
    """Insert a message, or move the one with its id to where it stands now: there it counts."""
    c.execute(_PLACE[c.dialect.name], _values(message))


def of_state(c: Connection, state_id: str) -> list[Message]:
    """The messages of a state that count, in order."""
    return [record(row) for row in c.execute(OF_STATE, {"state": state_id})]


def divided(written: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """Those that are complete, and those that are not."""
    complete = [message for message in written if message.status is MessageStatus.COMPLETE]
    return complete, [message for message in written if message.status is not MessageStatus.COMPLETE]


def of_states(c: Connection, state_ids: Collection[str]) -> list[Message]:
    """The messages of several states that count, those of each in order."""
    if not state_ids:
        return []
    return [record(row) for row in c.execute(_OF_STATES, {"states": list(state_ids)})]


def of_attempts(c: Connection, run_id: str, state_id: str) -> dict[int, list[Message]]:
    """All that a run ever wrote, by attempt, void messages too."""
    query = (
        sa.select(*COLUMNS)
        .where(messages.c.state_id == state_id, messages.c.run_id == run_id)
        .order_by(messages.c.attempt, messages.c.position)
    )
    by_attempt: dict[int, list[Message]] = {}
    for row in c.execute(query):
        by_attempt.setdefault(row.attempt, []).append(record(row))
    return by_attempt


def void(c: Connection, run: Run) -> list[str]:
    """The attempt was lost: what it wrote stays readable, but is not history. Returns the ids.

    So is what it has gone on with: all that was written since the last answered question.
    """
    kept = run.answers[-1].get("attempt", run.attempt - 1) if run.answers else 0
    statement = (
        messages.update()
        .where(messages.c.state_id == run.output_state_id, messages.c.attempt > kept, ~messages.c.void)
        .values(void=True)
        .returning(messages.c.id)
    )
    return list(c.execute(statement).scalars())


def voided(c: Connection, run: Run) -> list[str]:
    """The ids of what this run wrote and is void."""
    query = sa.select(messages.c.id).where(messages.c.state_id == run.output_state_id, messages.c.void)
    return list(c.execute(query).scalars())


def add_data(c: Connection, message_id: str | None, more: Mapping[str, Json]) -> None:
    """Add to the data of a message, if it is there."""
    this = messages.c.id == message_id
    row = c.execute(sa.select(messages.c.data).where(this)).one_or_none()
    if row is not None:
        c.execute(messages.update().where(this).values(data={**row.data, **more}))


def _state_of(run_id: str) -> Any:
    return sa.select(runs.c.output_state_id).where(runs.c.id == run_id).scalar_subquery()


def _values(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "state_id": message.state_id,
        "position": message.position,
        "attempt": message.attempt,
        "void": False,
        "role": message.role,
        "type": message.type,
        "channel": message.channel,
        "author": message.author,
        "content": message.content,
        "folded": stored(message.content),
        "data": dict(message.data),
        "status": message.status,
        "run_id": message.run_id,
        "created_at": message.created_at or utc_now(),
        "files": list(message.files) if message.files else None,
    }


OF_STATE = (
    sa.select(*COLUMNS)
    .where(messages.c.state_id == sa.bindparam("state", type_=Id), messages.c.void.is_(sa.false()))
    .order_by(messages.c.position)
)
_OF_STATES = (
    sa.select(*COLUMNS)
    .where(messages.c.state_id.in_(sa.bindparam("states", expanding=True)), messages.c.void.is_(sa.false()))
    .order_by(messages.c.state_id, messages.c.position)
)
_SAVE = upsert(messages, "id", ("content", "folded", "data", "status"))
_PLACE = upsert(messages, "id", ("position", "attempt", "void", "created_at"))
