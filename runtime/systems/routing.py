"""Where messages go: what follows from a message that was handled, and what cannot be delivered.

What is decided here follows from what was read; nothing is read or written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runtime.model import Json, new_id
from runtime.systems import graph, passing
from runtime.systems.definition import Channel, Definition, Kind, Pick
from runtime.systems.model import Entity, Letter, Reason

MOST_HOPS = 32
"""Entities that a message may pass where its system does not say."""
MOST_MESSAGES = 1000
"""Messages that may follow from one where its system does not say."""
MOST_TIME = 86400.0
"""Seconds that all that follows from a message may take where its system does not say."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that is to be sent."""

    to: Entity | None
    """None: there is nobody of that name."""
    kind: Kind
    body: Mapping[str, Json]
    error: bool = False
    reply_to: str | None = None
    race_id: str | None = None
    reason: Reason | None = None
    """Why it is a dead letter from the beginning."""

    def refused(self, reason: Reason) -> Outgoing:
        """The same as a dead letter."""
        return replace(self, reason=reason)


@dataclass(frozen=True, slots=True)
class Handled:
    """A message whose run has ended."""

    letter: Letter
    entity: Entity
    definition: Definition
    entities: Sequence[Entity]
    """All of the system."""
    waiting: Mapping[str, int]
    """How many messages wait, by the id of their entity."""

    def named(self, name: str | None) -> Entity | None:
        """The entity of that name."""
        return next((entity for entity in self.entities if entity.name == name), None)

    def with_id(self, entity_id: str | None) -> Entity | None:
        """The entity of that id."""
        return next((entity for entity in self.entities if entity.id == entity_id), None)


def after_success(
    handled: Handled, answer: Mapping[str, Json], sent: Sequence[Mapping[str, Any]], *, late: bool
) -> list[Outgoing]:
    """What goes out: what its worker has sent, and of a query the answer; that of a ``late`` one is dead."""
    outgoing = [one for event in sent for one in _sent(handled, event)]
    if handled.letter.kind is Kind.QUERY:
        reason = Reason.LATE if late else None
        outgoing += [replace(one, reason=reason or one.reason) for one in _answers(handled, answer)]
    return outgoing


def after_failure(handled: Handled, error: Mapping[str, Json]) -> list[Outgoing]:
    """An error goes to whoever has asked, and over channels for errors.

    What fails in handling an error makes no other one: that costs no hops, and could go on for ever.
    """
    outgoing: list[Outgoing] = []
    if handled.letter.error:
        return outgoing
    if handled.letter.kind is Kind.QUERY:
        asker = handled.with_id(handled.letter.sender_id)
        if asker is not None:
            outgoing.append(Outgoing(asker, Kind.READ, error, error=True))
    for channel in handled.definition.channels:
        if channel.errors:
            for one in _over(handled, channel, error):
                outgoing.append(replace(one, kind=Kind.READ, error=True, race_id=None))
    return outgoing


def _answers(handled: Handled, answer: Mapping[str, Json]) -> Iterator[Outgoing]:
    reply_to = handled.with_id(handled.letter.reply_to)
    if reply_to is not None:
        yield Outgoing(reply_to, Kind.READ, answer)
        return
    for channel in handled.definition.channels:
        yield from _over(handled, channel, answer)


def _sent(handled: Handled, event: Mapping[str, Any]) -> Iterator[Outgoing]:
    body = {"content": event["content"], "data": event["data"]}
    if event["to"] is None:
        for channel in handled.definition.channels:
            yield from _over(handled, channel, body)
        return
    receiver = handled.named(event["to"])
    reply_to = handled.named(event["reply_to"])
    is_lost = receiver is None or (event["reply_to"] is not None and reply_to is None)
    reason = Reason.UNKNOWN_ENTITY if is_lost else None
    yield Outgoing(
        receiver, Kind(event["kind"]), body, reply_to=reply_to.id if reply_to else None, reason=reason
    )


def _over(handled: Handled, channel: Channel, body: Mapping[str, Json]) -> Iterator[Outgoing]:
    """A body through a channel, to those to whom that leads from the entity."""
    if not passing.passes(channel.when, body):
        return
    names = {to for sender, to in graph.ends(channel, handled.entities) if sender == handled.entity.name}
    receivers = [entity for entity in handled.entities if entity.name in names]
    if channel.to is None and channel.pick in (None, Pick.ANY) and receivers:
        receivers = [min(receivers, key=lambda entity: handled.waiting.get(entity.id, 0))]
    race = new_id() if channel.pick is Pick.FIRST and channel.kind is Kind.QUERY else None
    for receiver in receivers:
        yield Outgoing(receiver, channel.kind, passing.mapped(channel.map, body), race_id=race)


def error_body(code: str, message: str) -> dict[str, Json]:
    """The body that says that a query has failed."""
    return {"content": message, "data": {"error": {"code": code, "message": message}}}
