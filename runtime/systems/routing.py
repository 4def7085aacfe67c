"""Where messages go: what follows from a message that was handled, and what cannot be delivered.

What is decided here follows from what was read; nothing is read or written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

from runtime.model import Json, new_id
from runtime.systems import graph, passing
from runtime.systems.definition import Channel, Definition, Kind, Pick
from runtime.systems.model import Entity, Letter, Reason

MOST_HOPS = 32
"""Entities that a message may pass where its system does not say."""
MOST_MESSAGES = 1000
"""Messages that may follow from one where its system does not say."""
MOST_AT_ONCE = 1000
"""Messages that may follow from one directly, whatever its system says."""
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
    """What goes out: of a query the answer, and what its worker has sent; the answer of a ``late`` one is
    dead."""
    channels = _Channels(handled)
    answers: Iterable[Outgoing] = ()
    if handled.letter.kind is Kind.QUERY:
        answers = _answers(handled, channels, answer)
        if late:
            answers = (one.refused(Reason.LATE) for one in answers)
    others = (one for event in sent for one in _sent(handled, channels, event))
    return _limited(handled, chain(answers, others))


def after_failure(handled: Handled, error: Mapping[str, Json]) -> list[Outgoing]:
    """An error goes to whoever has asked, and over channels for errors.

    What fails in handling an error makes no other one: that costs no hops, and could go on for ever.
    """
    if handled.letter.error:
        return []
    return _limited(handled, _errors(handled, error))


def _limited(handled: Handled, outgoing: Iterable[Outgoing]) -> list[Outgoing]:
    """As many as may follow. The first one beyond is a dead letter, and stands for all after it."""
    most = min(handled.definition.limits.messages or MOST_MESSAGES, MOST_AT_ONCE)
    kept = list(islice(outgoing, most + 1))
    return [*kept[:most], *(one.refused(one.reason or Reason.MESSAGES) for one in kept[most:])]


def _errors(handled: Handled, error: Mapping[str, Json]) -> Iterator[Outgoing]:
    if handled.letter.kind is Kind.QUERY:
        asker = handled.with_id(handled.letter.sender_id)
        if asker is not None:
            yield Outgoing(asker, Kind.READ, error, error=True)
    for one in _Channels(handled, errors=True).lead(error):
        yield replace(one, kind=Kind.READ, error=True, race_id=None)


def _answers(handled: Handled, channels: _Channels, answer: Mapping[str, Json]) -> Iterator[Outgoing]:
    reply_to = handled.with_id(handled.letter.reply_to)
    if reply_to is not None:
        yield Outgoing(reply_to, Kind.READ, answer)
        return
    yield from channels.lead(answer)


def _sent(handled: Handled, channels: _Channels, event: Mapping[str, Any]) -> Iterator[Outgoing]:
    body = {"content": event["content"], "data": event["data"]}
    reply_to = handled.named(event["reply_to"])
    is_lost = event["reply_to"] is not None and reply_to is None
    outgoing: Iterable[Outgoing]
    if event["to"] is None:
        outgoing = channels.lead(body)
    else:
        receiver = handled.named(event["to"])
        is_lost = is_lost or receiver is None
        outgoing = [Outgoing(receiver, Kind(event["kind"]), body)]
    for one in outgoing:
        reason = Reason.UNKNOWN_ENTITY if is_lost else one.reason
        yield replace(one, reply_to=reply_to.id if reply_to else None, reason=reason)


class _Channels:
    """The channels that lead away from the entity that has handled a message."""

    def __init__(self, handled: Handled, *, errors: bool = False) -> None:
        """``errors``: only those that errors pass, too."""
        self._maps = passing.Maps()
        self._channels = [
            (channel, receivers)
            for channel in handled.definition.channels
            if (channel.errors or not errors) and (receivers := _receivers(handled, channel))
        ]

    def lead(self, body: Mapping[str, Json]) -> Iterator[Outgoing]:
        """What goes through them."""
        for channel, receivers in self._channels:
            if passing.passes(channel.when, body):
                yield from self._through(channel, receivers, body)

    def _through(
        self, channel: Channel, receivers: Sequence[Entity], body: Mapping[str, Json]
    ) -> Iterator[Outgoing]:
        race = new_id() if channel.pick is Pick.FIRST and channel.kind is Kind.QUERY else None
        made, reason = body, None
        try:
            made = self._maps.body(channel.map, body)
        except passing.TooLarge:
            reason = Reason.NOT_ACCEPTED
        for receiver in receivers:
            yield Outgoing(receiver, channel.kind, made, race_id=race, reason=reason)


def _receivers(handled: Handled, channel: Channel) -> list[Entity]:
    """To whom a channel leads from the entity."""
    if channel.sender not in (None, handled.entity.name):
        return []
    names = {to for sender, to in graph.ends(channel, handled.entities) if sender == handled.entity.name}
    receivers = [entity for entity in handled.entities if entity.name in names]
    if channel.to is None and channel.pick in (None, Pick.ANY) and receivers:
        receivers = [min(receivers, key=lambda entity: handled.waiting.get(entity.id, 0))]
    return receivers


def error_body(code: str, message: str) -> dict[str, Json]:
    """The body that says that a query has failed."""
    return {"content": message, "data": {"error": {"code": code, "message": message}}}
