"""The SQL of systems: to make and to end them, and all that is read of them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import Conflict, NotFound, WorkerInvalid
from runtime.model import Json, Message, Run, RunStatus, Thread
from runtime.store import messages, runs, threads
from runtime.store.page import Page, after, filled, start_of, within_bytes
from runtime.store.tables import now, run_sends, workspaces
from runtime.store.tables import threads as all_threads
from runtime.systems.definition import Definition, Kind, Pick, WhenFull
from runtime.systems.model import Entity, Letter, MessageStatus, Reason, System, SystemStatus
from runtime.systems.tables import (
    IS_HELD,
    IS_UNDER_WAY,
    IS_WAITING,
    IS_WORKING,
    entities,
    has_status,
    letters,
    systems,
)

MOST_SYSTEMS = 100
"""Systems that a workspace may have."""
MOST_FOLLOWING = 1000
"""Messages that are shown of those that have followed from one."""
_SYSTEM = [systems.c[name] for name in System.__dataclass_fields__]
_ENTITY = [entities.c[name] for name in Entity.__dataclass_fields__]
_LETTER = [letters.c[name] for name in Letter.__dataclass_fields__]
_LARGE = ("body", "answer")
"""Columns of a message whose size users and workers determine."""
_NO_SYSTEM = "There is no such system."
_NO_MESSAGE = "The system has no such message."


# ── systems ─────────────────────────────────────────────────────────────────


def create(
    c: Connection, workspace_id: str, user_id: str, definition: Definition, given: Mapping[str, Json]
) -> System:
    """A system that runs, with its entities. Raises Conflict where the workspace has enough."""
    this = sa.select(workspaces.c.id).where(workspaces.c.id == workspace_id)
    c.execute(this.with_for_update(key_share=True)).one_or_none()
    count = sa.select(sa.func.count()).where(systems.c.workspace_id == workspace_id)
    if c.execute(count).scalar_one() >= MOST_SYSTEMS:
        raise Conflict(f"You have {MOST_SYSTEMS} systems, which is as many as you may. Delete some.")
    home = threads.create(c, workspace_id=workspace_id, user_id=user_id, title=definition.name)
    c.execute(all_threads.update().where(all_threads.c.id == home.id).values(called_from=home.id))
    system_id = str(uuid.uuid4())
    c.execute(
        systems.insert().values(
            id=system_id,
            workspace_id=workspace_id,
            user_id=user_id,
            name=definition.name,
            status=SystemStatus.RUNNING,
            version=1,
            definition=dict(given),
            thread_id=home.id,
            created_at=now(),
            updated_at=now(),
        )
    )
    for entity in definition.entities:
        own = threads.create(
            c,
            workspace_id=workspace_id,
            user_id=user_id,
            title=f"{definition.name}: {entity.name}",
            worker_id=entity.worker_id,
            config=entity.config,
            called_from=home.id,
        )
        c.execute(
            entities.insert().values(
                id=str(uuid.uuid4()),
                system_id=system_id,
                name=entity.name,
                worker_id=entity.worker_id,
                config=dict(entity.config),
                components=dict(entity.components),
                accepts=entity.accepts,
                mailbox_size=entity.mailbox.size,
                when_full=entity.mailbox.when_full,
                concurrency=entity.concurrency,
                entry=entity.entry,
                thread_id=own.id,
                tip_state_id=own.root_state_id,
                last_number=0,
            )
        )
    return get(c, workspace_id, system_id)


def get(c: Connection, workspace_id: str, system_id: str) -> System:
    """A system of a workspace. Raises NotFound."""
    query = sa.select(*_SYSTEM).where(systems.c.id == system_id, systems.c.workspace_id == workspace_id)
    row = c.execute(query).one_or_none()
    if row is None:
        raise NotFound(_NO_SYSTEM)
    return _system(row)


def listing(c: Connection, workspace_id: str, *, limit: int = 20, cursor: str | None = None) -> Page[System]:
    """The systems of a workspace, newest first, without their definitions."""
    columns = [column for column in _SYSTEM if column is not systems.c.definition]
    query: sa.Select[Any] = sa.select(*columns, sa.null().label("definition"))
    query = query.where(systems.c.workspace_id == workspace_id)
    query, values = _from_cursor(query, systems, cursor)
    rows = c.execute(_newest(query, systems, limit), values).all()
    return Page.of(rows, limit, _system, lambda row: (row.created_at, row.id))


def stop(c: Connection, workspace_id: str, system_id: str, *, drain: bool) -> tuple[System, list[Run]]:
    """Have a system take no more from outside, and end what it has, or drop it.

    Returns the runs that are cancelled for that. Raises NotFound.
    """
    get(c, workspace_id, system_id)
    cancelled: list[Run] = []
    # Locked to drain as well: what ends meanwhile would not see that the system stops.
    locked = entities_of(c, system_id, lock=True)
    if not drain:
        for entity in locked:
            cancelled += runs.cancel_all(c, entity.thread_id)
        resting = (letters.c.system_id == system_id, IS_HELD | IS_WAITING)
        dead = {"status": MessageStatus.DEAD, "reason": Reason.STOPPED, "ended_at": now()}
        c.execute(letters.update().where(*resting).values(dead))
    _lock_system(c, system_id)
    system = get(c, workspace_id, system_id)
    if system.status is not SystemStatus.STOPPED:
        status = SystemStatus.STOPPING if drain else SystemStatus.STOPPED
        c.execute(systems.update().where(systems.c.id == system_id).values(status=status, updated_at=now()))
        if drain:
            note_drained(c, system_id)
    return get(c, workspace_id, system_id), cancelled


def remove(c: Connection, workspace_id: str, system_id: str) -> list[Run]:
    """Delete a system with all that it has. Returns the runs that are cancelled. Raises NotFound."""
    system = get(c, workspace_id, system_id)
    cancelled: list[Run] = []
    of_system = entities_of(c, system_id, lock=True)
    for entity in of_system:
        cancelled += runs.cancel_all(c, entity.thread_id)
    c.execute(systems.delete().where(systems.c.id == system_id))
    threads.delete_called_for_good(c, system.thread_id, *(entity.thread_id for entity in of_system))
    return cancelled


def note_drained(c: Connection, system_id: str) -> None:
    """A system that stops has stopped once nothing is under way."""
    _lock_system(c, system_id)
    left = sa.exists().where(letters.c.system_id == system_id, IS_UNDER_WAY)
    stopping = (systems.c.id == system_id, systems.c.status == SystemStatus.STOPPING)
    c.execute(systems.update().where(*stopping, ~left).values(status=SystemStatus.STOPPED, updated_at=now()))


# ── what is read ────────────────────────────────────────────────────────────


def entities_of(c: Connection, system_id: str, *, lock: bool = False) -> list[Entity]:
    """All entities of a system, by their names; ``lock``: by their ids, each locked."""
    query = sa.select(*_ENTITY).where(entities.c.system_id == system_id)
    query = query.order_by(entities.c.id).with_for_update() if lock else query.order_by(entities.c.name)
    return [_entity(row) for row in c.execute(query)]


def counts(c: Connection, system_id: str, status: MessageStatus) -> dict[str, int]:
    """How many messages of a status the entities have, by their ids."""
    query = (
        sa.select(letters.c.entity_id, sa.func.count())
        .where(letters.c.system_id == system_id, has_status(status))
        .group_by(letters.c.entity_id)
    )
    return {row[0]: row[1] for row in c.execute(query)}


def letter(c: Connection, system_id: str, message_id: str) -> Letter:
    """A message of a system. Raises NotFound."""
    query = sa.select(*_LETTER).where(letters.c.id == message_id, letters.c.system_id == system_id)
    row = c.execute(query).one_or_none()
    if row is None:
        raise NotFound(_NO_MESSAGE)
    return _letter(row)


def following(c: Connection, message_id: str) -> list[Letter]:
    """What a message has caused, at any depth, oldest first: as much as is shown at once."""
    caused = sa.select(letters.c.id).where(letters.c.cause_id == message_id).cte("caused", recursive=True)
    caused = caused.union_all(sa.select(letters.c.id).join(caused, letters.c.cause_id == caused.c.id))
    # The limit is here, where no more is looked for than it takes: a million may have followed.
    first = sa.select(caused.c.id).limit(MOST_FOLLOWING)
    query = sa.select(*_LETTER).where(letters.c.id.in_(first))
    shown = within_bytes(query, _LARGE, ("created_at", "id"), c.dialect.name, oldest_first=True)
    return [_letter(row) for row in filled(c.execute(shown).all())]


def dead_letters(
    c: Connection, system_id: str, *, limit: int = 20, cursor: str | None = None
) -> Page[Letter]:
    """What could not be delivered, newest first."""
    query = sa.select(*_LETTER).where(letters.c.system_id == system_id, has_status(MessageStatus.DEAD))
    query, values = _from_cursor(query, letters, cursor)
    newest = within_bytes(_newest(query, letters, limit), _LARGE, ("created_at", "id"), c.dialect.name)
    rows = c.execute(newest, values).all()
    return Page.of(rows, limit, _letter, lambda row: (row.created_at, row.id))


@dataclass(frozen=True, slots=True)
class Context:
    """A message with what it belongs to."""

    letter: Letter
    entity: Entity
    system: System
    entities: Sequence[Entity]
    waiting: Mapping[str, int]
    """How many messages wait, by entity, where a channel picks by that."""
    run: Run | None
    sent: Sequence[Mapping[str, Any]]
    """What the worker has sent, if its run has succeeded."""
    written: Sequence[Message]
    """What that has written."""
    is_late: bool
    """Whether the deadline is over, or another answer counts."""


def context(c: Connection, message_id: str) -> Context | None:
    """None where there is no such message, or nobody whom it is to."""
    row = c.execute(sa.select(*_LETTER).where(letters.c.id == message_id)).one_or_none()
    if row is None or row.entity_id is None:
        return None
    found = _letter(row)
    system = _system(c.execute(sa.select(*_SYSTEM).where(systems.c.id == found.system_id)).one())
    of_system = entities_of(c, system.id)
    entity = next(entity for entity in of_system if entity.id == found.entity_id)
    run = runs.find(c, found.run_id) if found.run_id else None
    sent: list[dict[str, Json]] = []
    written: list[Message] = []
    if run is not None and run.status is RunStatus.SUCCESS:
        query = sa.select(run_sends.c.sent).where(run_sends.c.run_id == run.id)
        sent = c.execute(query).scalar_one_or_none() or []
        written = messages.of_state(c, run.output_state_id)
    waiting = counts(c, system.id, MessageStatus.WAITING) if _picks_by_load(system) else {}
    late = c.execute(IS_LATE, {"message": message_id}).scalar_one()
    return Context(found, entity, system, of_system, waiting, run, sent, written, bool(late))


def _picks_by_load(system: System) -> bool:
    """Whether a channel leads to one of several entities."""
    return any(
        channel["to"] is None and channel["pick"] in (None, Pick.ANY)
        for channel in system.definition["channels"]
    )


@dataclass(frozen=True, slots=True)
class Next:
    """A message that an entity can take."""

    letter: Letter
    entity: Entity
    system: System
    thread: Thread
    seconds: float | None
    """Until its deadline; none left: not more than 0."""


def next_message(c: Connection, entity_id: str, *, lock: bool = False) -> Next | None:
    """What an entity is to take; None: nothing, or not now."""
    query = sa.select(*_ENTITY).where(entities.c.id == entity_id)
    row = c.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        return None
    entity = _entity(row)
    holds = sa.exists().where(letters.c.sender_id == entity_id, IS_HELD)
    working = sa.select(sa.func.count()).where(letters.c.entity_id == entity_id, IS_WORKING)
    busy = working.scalar_subquery() >= entity.concurrency
    first = (
        sa.select(*_LETTER, now().label("clock"))
        .where(letters.c.entity_id == entity_id, IS_WAITING, ~holds, ~busy)
        .order_by(letters.c.priority.desc(), letters.c.number)
        .limit(1)
    )
    found = c.execute(first).one_or_none()
    if found is None:
        return None
    system = _system(c.execute(sa.select(*_SYSTEM).where(systems.c.id == entity.system_id)).one())
    if system.status is SystemStatus.STOPPED:
        return None
    own = c.execute(sa.select(*threads.COLUMNS).where(all_threads.c.id == entity.thread_id)).one_or_none()
    if own is None:
        return None
    seconds = (found.deadline - found.clock).total_seconds() if found.deadline else None
    return Next(_letter(found), entity, system, threads.record(own), seconds)


def _lock_system(c: Connection, system_id: str) -> None:
    """Without its key, which each message that is inserted names: two who have done that would wait for
    each other."""
    this = sa.select(systems.c.id).where(systems.c.id == system_id)
    c.execute(this.with_for_update(key_share=True)).one_or_none()


def comes_again(error: Exception) -> bool:
    """Whether an error is of what is to be written, and so would come however often it is tried."""
    if isinstance(error, sa.exc.DataError):
        return True
    cause = error.orig if isinstance(error, sa.exc.StatementError) else error
    return isinstance(cause, ValueError | TypeError | RecursionError | WorkerInvalid)


def status_of(c: Connection, system_id: str) -> SystemStatus:
    """What a system does."""
    return SystemStatus(c.execute(sa.select(systems.c.status).where(systems.c.id == system_id)).scalar_one())


def _from_cursor(
    query: sa.Select[Any], table: sa.Table, cursor: str | None
) -> tuple[sa.Select[Any], dict[str, Any]]:
    if not cursor:
        return query, {}
    return query.where(after(table.c.created_at, table.c.id)), start_of(cursor)


def _newest(query: sa.Select[Any], table: sa.Table, limit: int) -> sa.Select[Any]:
    return query.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(limit + 1)


def _system(row: Any) -> System:
    values = row._mapping
    decoded = {"status": SystemStatus(values["status"]), "definition": values["definition"] or {}}
    return System(**{**_named(System, values), **decoded})


def _entity(row: Any) -> Entity:
    values = row._mapping
    return Entity(**{**_named(Entity, values), "when_full": WhenFull(values["when_full"])})


def _letter(row: Any) -> Letter:
    values = row._mapping
    decoded = {"kind": Kind(values["kind"]), "status": MessageStatus(values["status"])}
    return Letter(**{**_named(Letter, values), **decoded})


def _named(record: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in record.__dataclass_fields__}


_other = letters.alias("other")
IS_LATE = sa.select(
    sa.or_(
        sa.and_(letters.c.deadline.is_not(None), letters.c.deadline <= now()),
        sa.exists().where(
            _other.c.race_id == letters.c.race_id,
            _other.c.id != letters.c.id,
            _other.c.status == MessageStatus.DONE,
        ),
    )
).where(letters.c.id == sa.bindparam("message", type_=letters.c.id.type))
