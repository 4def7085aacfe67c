"""The SQL of mailboxes: how messages come into them, are taken, end, and what follows.

Who changes a mailbox has locked the row of its entity, so that numbers are given one after the other.
Locks are taken in this order, lest two wait for each other: entities by their ids, a correlation, a system.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from runtime.errors import Conflict, NotFound, TooMany
from runtime.model import Json, new_id
from runtime.store import outbox
from runtime.store.tables import now, run_sends
from runtime.systems import cycles, store
from runtime.systems.definition import Definition, Kind, WhenFull
from runtime.systems.model import Entity, Letter, MessageStatus, Reason, System, SystemStatus
from runtime.systems.routing import MOST_HOPS, MOST_MESSAGES, Outgoing, error_body
from runtime.systems.store import Context, Next
from runtime.systems.tables import (
    IS_HELD,
    IS_UNDER_WAY,
    IS_WAITING,
    correlations,
    entities,
    letters,
    systems,
)

ARRIVED = "system_arrived"
"""The kind of the task to have an entity take its next message. Its key is that of a message."""
AGAIN = "system_again"
"""The kind of the task to try again to have a message handled, where that could not be. Its key is that of
the message, the first one that waits: there is one such task, however many wait behind it."""
HANDLED = "system_handled"
"""The kind of the task that waits for the run of a message."""
EXPIRED = "system_expired"
"""The kind of the task that ends what waits once the deadline is over. Its key is a correlation."""
HELD = "system_held"
"""The kind of the task to look whether entities wait for each other. Its key is that of a message."""
MOST_UNDER_WAY = 10_000
"""Messages of a system that may wait or be handled when another one comes from outside."""
WATCHED_EVERY = 60.0
"""Seconds after which the run of a message is looked at, though nothing has said that it has ended."""
_ERROR_PRIORITY = 100


def accept(
    c: Connection,
    system: System,
    receiver: Entity,
    kind: Kind,
    body: Mapping[str, Json],
    *,
    reply_to: str | None,
    priority: int,
    seconds: float,
) -> Letter:
    """A message from outside. Raises NotFound, Conflict where the system stops, and TooMany where
    there is no room."""
    _lock_entities(c, [receiver.id])
    query = sa.select(systems.c.status).where(systems.c.id == system.id).with_for_update(read=True)
    status = c.execute(query).scalar_one_or_none()
    if status is None:
        raise NotFound("There is no such system.")
    if status != SystemStatus.RUNNING:
        raise Conflict("The system is stopped, and takes no messages.")
    if waiting_of(c, receiver.id) >= receiver.mailbox_size:
        raise TooMany(f"The mailbox of {receiver.name} is full; try again in a moment.")
    if _under_way(c, system.id) >= MOST_UNDER_WAY:
        raise TooMany(f"The system has {MOST_UNDER_WAY} messages under way; try again in a moment.")
    correlation = str(uuid.uuid4())
    c.execute(correlations.insert().values(id=correlation, system_id=system.id, messages=1))
    message_id = new_id()
    values = {
        "id": message_id,
        "system_id": system.id,
        "correlation_id": correlation,
        "kind": kind,
        "body": dict(body),
        "error": False,
        "reply_to": reply_to,
        "priority": priority,
        "hops": 0,
        "created_at": now(),
        "deadline": now(seconds),
    }
    _enter(c, receiver, values)
    outbox.put(c, EXPIRED, correlation, {"correlation_id": correlation}, delay=seconds)
    return store.letter(c, system.id, message_id)


def try_again(c: Connection, chosen: Next, delay: float) -> None:
    """Have a message tried again in ``delay`` seconds that cannot be handled now."""
    payload = {"entity_id": chosen.entity.id, "message_id": chosen.letter.id}
    outbox.put(c, AGAIN, chosen.letter.id, payload, delay=delay)


def waits(c: Connection, message_id: str) -> bool:
    """Whether a message waits in a mailbox."""
    return c.execute(sa.select(sa.exists().where(letters.c.id == message_id, IS_WAITING))).scalar_one()


def take(c: Connection, chosen: Next, run_id: str) -> bool:
    """Have an entity handle a message, whose run is queued in the same transaction.

    False if that is not the next one any more. There is room for another one in its mailbox then.
    """
    again = store.next_message(c, chosen.entity.id, lock=True)
    if again is None or again.letter.id != chosen.letter.id:
        return False
    if again.entity.tip_state_id != chosen.entity.tip_state_id:
        return False
    working = {"status": MessageStatus.WORKING, "run_id": run_id, "started_at": now()}
    c.execute(letters.update().where(letters.c.id == chosen.letter.id).values(working))
    payload = {"message_id": chosen.letter.id}
    outbox.put(c, HANDLED, chosen.letter.id, payload, delay=WATCHED_EVERY)
    _release_held(c, chosen.entity)
    return True


@dataclass(frozen=True, slots=True)
class Settlement:
    """What becomes of a message."""

    status: MessageStatus
    reason: str | None = None
    answer: Mapping[str, Json] | None = None
    tip_state_id: str | None = None
    """Where its entity goes on; None: where it was."""


def settle(
    c: Connection,
    found: Context,
    expected: MessageStatus,
    end: Settlement,
    outgoing: Sequence[Outgoing],
) -> bool:
    """End a message, and send what follows from it.

    False if it is not as it was read: it has ended, or another answer counts meanwhile.
    """
    receivers = {one.to.id: one.to for one in outgoing if one.to is not None}
    _lock_entities(c, {found.entity.id, *receivers})
    guard = (
        letters.c.id == found.letter.id,
        letters.c.status == expected,
        letters.c.run_id.is_not_distinct_from(found.letter.run_id),
    )
    ended = {
        "status": end.status,
        "reason": end.reason,
        "answer": None if end.answer is None else dict(end.answer),
        "ended_at": now(),
    }
    if found.letter.race_id is not None and not found.is_late:
        this = correlations.c.id == found.letter.correlation_id
        c.execute(sa.select(correlations.c.id).where(this).with_for_update()).one()
        if c.execute(store.IS_LATE, {"message": found.letter.id}).scalar_one():
            return False
    if not c.execute(letters.update().where(*guard).values(ended)).rowcount:
        return False
    if end.tip_state_id is not None:
        tip = entities.update().where(entities.c.id == found.entity.id)
        c.execute(tip.values(tip_state_id=end.tip_state_id))
    if found.letter.run_id is not None:
        c.execute(run_sends.delete().where(run_sends.c.run_id == found.letter.run_id))
    status = store.status_of(c, found.system.id)
    _send(c, found, outgoing, is_stopped=status is SystemStatus.STOPPED)
    _forget_deadline(c, found.letter.correlation_id)
    if expected is MessageStatus.WAITING:
        _release_held(c, found.entity)
    elif expected is MessageStatus.HELD and found.letter.sender_id is not None:
        outbox.put(c, ARRIVED, f"{found.letter.id}:sender", {"entity_id": found.letter.sender_id})
    if status is SystemStatus.STOPPING:
        store.note_drained(c, found.system.id)
    return True


def waiting_of(c: Connection, entity_id: str) -> int:
    """How many messages wait for an entity."""
    query = sa.select(sa.func.count()).where(letters.c.entity_id == entity_id, IS_WAITING)
    return c.execute(query).scalar_one()


def _under_way(c: Connection, system_id: str) -> int:
    """How many messages of a system have not ended; no more are counted than there may be."""
    some = sa.select(letters.c.id).where(letters.c.system_id == system_id, IS_UNDER_WAY).limit(MOST_UNDER_WAY)
    return c.execute(sa.select(sa.func.count()).select_from(some.subquery())).scalar_one()


def _forget_deadline(c: Connection, correlation_id: str) -> None:
    """Nothing is left to do at the deadline of a correlation of which nothing is under way."""
    left = sa.exists().where(letters.c.correlation_id == correlation_id, IS_UNDER_WAY)
    if not c.execute(sa.select(left)).scalar_one():
        outbox.forget(c, [(EXPIRED, correlation_id)])


def _send(c: Connection, found: Context, outgoing: Sequence[Outgoing], *, is_stopped: bool) -> None:
    definition = Definition.decode(found.system.definition)
    most_hops = definition.limits.hops or MOST_HOPS
    left = _count(c, found.letter.correlation_id, outgoing, definition.limits.messages or MOST_MESSAGES)
    told: set[str] = set()
    for one in outgoing:
        if left < 0 and not one.error:
            break  # the dead letter of the one before stands for all that follow
        hops = found.letter.hops + (0 if one.error else 1)
        reason = one.reason
        if not one.error and reason is None:
            left -= 1
            reason = Reason.HOPS if hops > most_hops else Reason.MESSAGES if left < 0 else None
        values = {
            "id": new_id(),
            "system_id": found.system.id,
            "entity_id": one.to.id if one.to else None,
            "correlation_id": found.letter.correlation_id,
            "cause_id": found.letter.id,
            "sender_id": found.entity.id,
            "kind": one.kind,
            "body": dict(one.body),
            "error": one.error,
            "reply_to": one.reply_to,
            "race_id": one.race_id,
            "priority": _ERROR_PRIORITY if one.error else found.letter.priority,
            "hops": hops,
            "created_at": now(),
            "deadline": None if one.error else found.letter.deadline,
        }
        if is_stopped:
            reason = Reason.STOPPED
        if reason is not None or one.to is None:
            refused: Reason | None = reason or Reason.UNKNOWN_ENTITY
            _insert_dead(c, values, reason or Reason.UNKNOWN_ENTITY)
        else:
            refused = _deliver(c, found, one, one.to, values)
        if refused is not None and refused not in (Reason.LATE, Reason.STOPPED, *told):
            told |= _tell_sender(c, found, one, values, refused)


def _deliver(
    c: Connection, found: Context, one: Outgoing, to: Entity, values: dict[str, Any]
) -> Reason | None:
    """Put a message into a mailbox, or do what is to be done where that is full.

    Returns why it is a dead letter, if it is one.
    """
    held = sa.exists().where(letters.c.entity_id == to.id, IS_HELD)
    full = waiting_of(c, to.id) >= to.mailbox_size or c.execute(sa.select(held)).scalar_one()
    if not full or one.error or (to.when_full is WhenFull.DROP_OLDEST_READ and _drop_oldest_read(c, to)):
        _enter(c, to, values)
    elif to.when_full is WhenFull.WAIT:
        c.execute(letters.insert().values(**values, status=MessageStatus.HELD))
        outbox.put(c, HELD, values["id"], {"system_id": found.system.id})
    else:
        _insert_dead(c, values, Reason.MAILBOX_FULL)
        return Reason.MAILBOX_FULL
    return None


def _tell_sender(
    c: Connection, found: Context, one: Outgoing, values: Mapping[str, Any], reason: Reason
) -> set[Reason]:
    """An entity learns of a query of its own that nobody will answer. Returns the reason if it does.

    Not of one that it has sent when it learned of such an error, which could go on for ever.
    """
    if one.kind is not Kind.QUERY or one.error or found.letter.error:
        return set()
    body = error_body(reason, f"The message to {one.to.name if one.to else 'nobody'} was not delivered.")
    error = {
        **values,
        "id": new_id(),
        "cause_id": values["id"],
        "kind": Kind.READ,
        "body": body,
        "error": True,
        "reply_to": None,
        "race_id": None,
        "priority": _ERROR_PRIORITY,
        "sender_id": values["entity_id"],
    }
    _enter(c, found.entity, error)
    return {reason}


def _enter(c: Connection, to: Entity, values: Mapping[str, Any]) -> None:
    """Put a message into the mailbox of an entity that is locked, and have it taken."""
    number = _next_number(c, to.id)
    c.execute(
        letters.insert().values(
            **{**values, "entity_id": to.id, "number": number, "status": MessageStatus.WAITING}
        )
    )
    outbox.put(c, ARRIVED, values["id"], {"entity_id": to.id})


def _next_number(c: Connection, entity_id: str) -> int:
    counted = (
        entities.update().where(entities.c.id == entity_id).values(last_number=entities.c.last_number + 1)
    )
    number: int = c.execute(counted.returning(entities.c.last_number)).scalar_one()
    return number


def expiring(c: Connection, correlation_id: str) -> list[str]:
    """The ids of the messages that wait though their deadline is over."""
    query = sa.select(letters.c.id).where(
        letters.c.correlation_id == correlation_id,
        IS_HELD | IS_WAITING,
        letters.c.deadline <= now(),
    )
    return list(c.execute(query.order_by(letters.c.id)).scalars())


def let_one_pass(c: Connection, system_id: str) -> bool:
    """Where entities wait for each other, put the oldest of their messages into its mailbox, full as it is.

    Whether there was one: then there may be another one.
    """
    members = {name for circle in _circles(_waits(c, system_id)) for name in circle}
    if not members:
        return False
    _lock_entities(c, members)
    waits = _waits(c, system_id)
    for circle in map(set, _circles(waits)):
        inner = [row for row in waits if row.sender_id in circle and row.entity_id in circle]
        oldest = min(inner, key=lambda row: row.id)
        if oldest.entity_id in members:
            _let_in(c, oldest.id, oldest.entity_id, oldest.sender_id)
            return True
    return False


def _waits(c: Connection, system_id: str) -> Sequence[Any]:
    columns = (letters.c.id, letters.c.sender_id, letters.c.entity_id)
    return c.execute(sa.select(*columns).where(letters.c.system_id == system_id, IS_HELD)).all()


def _circles(waits: Sequence[Any]) -> list[list[str]]:
    graph: dict[str, list[str]] = {}
    for row in waits:
        graph.setdefault(row.sender_id, []).append(row.entity_id)
    return cycles.cycles(graph)


def _release_held(c: Connection, to: Entity) -> None:
    """There is room in a mailbox: let in what rests with senders, oldest first."""
    room = to.mailbox_size - waiting_of(c, to.id)
    if room <= 0:
        return
    held = (
        sa.select(letters.c.id, letters.c.sender_id)
        .where(letters.c.entity_id == to.id, IS_HELD)
        .order_by(letters.c.id)
        .limit(room)
    )
    for row in c.execute(held).all():
        _let_in(c, row.id, to.id, row.sender_id)


def _let_in(c: Connection, message_id: str, entity_id: str, sender_id: str) -> None:
    """Put a message that is held into its mailbox; its sender may go on."""
    entered = {"number": _next_number(c, entity_id), "status": MessageStatus.WAITING}
    c.execute(letters.update().where(letters.c.id == message_id, IS_HELD).values(entered))
    outbox.put(c, ARRIVED, message_id, {"entity_id": entity_id})
    outbox.put(c, ARRIVED, f"{message_id}:sender", {"entity_id": sender_id})


def _drop_oldest_read(c: Connection, to: Entity) -> bool:
    """Make room by the oldest read that waits; whether there was one."""
    oldest = (
        sa.select(letters.c.id)
        .where(
            letters.c.entity_id == to.id,
            IS_WAITING,
            letters.c.kind == Kind.READ,
            letters.c.error.is_(False),
        )
        .order_by(letters.c.number)
        .limit(1)
        .scalar_subquery()
    )
    dropped = {"status": MessageStatus.DEAD, "reason": Reason.DROPPED, "ended_at": now()}
    return bool(c.execute(letters.update().where(letters.c.id == oldest).values(dropped)).rowcount)


def _insert_dead(c: Connection, values: Mapping[str, Any], reason: Reason) -> None:
    dead = {"status": MessageStatus.DEAD, "reason": reason, "ended_at": now()}
    c.execute(letters.insert().values(**values, **dead))


def _count(c: Connection, correlation_id: str, outgoing: Sequence[Outgoing], most: int) -> int:
    """Count messages that are to be sent; how many of them may be. Nothing is counted beyond ``most``."""
    new = sum(not one.error and one.reason is None for one in outgoing)
    if not new:
        return 0
    this = correlations.c.id == correlation_id
    before: int = c.execute(sa.select(correlations.c.messages).where(this).with_for_update()).scalar_one()
    c.execute(correlations.update().where(this).values(messages=min(before + new, most)))
    return max(most - before, 0)


def _lock_entities(c: Connection, ids: Collection[str]) -> None:
    query = sa.select(entities.c.id).where(entities.c.id.in_(list(ids))).order_by(entities.c.id)
    c.execute(query.with_for_update()).all()
