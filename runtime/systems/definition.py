"""The definition of a system: limits, entities, and the channels between them.

Its shape is checked where it comes in (``web/systems/schemas.py``); what it means is looked at by
:mod:`runtime.systems.check`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from runtime.model import Json


class Kind(StrEnum):
    """What is sent through a channel."""

    QUERY = "query"
    """It is to be answered."""
    READ = "read"
    """It is taken in, and never answered."""


class Pick(StrEnum):
    """Which of the entities that have the components of a channel are sent a message."""

    ANY = "any"
    """One of them."""
    ALL = "all"
    FIRST = "first"
    """All of them, and the first answer counts."""


class WhenFull(StrEnum):
    """What becomes of a message to a mailbox that is full."""

    WAIT = "wait"
    """It rests with its sender, which takes no other one meanwhile."""
    REFUSE = "refuse"
    """Its sender is told."""
    DROP_OLDEST_READ = "drop_oldest_read"
    """The oldest ``read`` there makes room."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What all that follows from one message may use; None: what every system may."""

    hops: int | None = None
    """Entities that it may pass, one after the other."""
    messages: int | None = None
    time: float | None = None
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Where messages to an entity wait for it."""

    size: int
    when_full: WhenFull


@dataclass(frozen=True, slots=True)
class Entity:
    """One part of a system: a worker, with a config, that is sent messages."""

    name: str
    worker_id: str
    config: Mapping[str, Json]
    components: Mapping[str, Json]
    """What it can do or is, such as ``{"search": true, "language": "de"}``."""
    mailbox: Mailbox
    concurrency: int
    """Messages that it handles at once."""
    accepts: Mapping[str, Json] | None
    """JSON Schema of the body of messages that it takes; None: any."""
    answers: Mapping[str, Json] | None
    """JSON Schema of what it sends."""
    entry: bool
    """Whether messages come to it from outside, so that no channel has to lead to it."""


@dataclass(frozen=True, slots=True)
class Channel:
    """From whom messages go to whom."""

    sender: str | None
    """None: each entity with the components."""
    to: str | None
    """None: entities with the components, as ``pick`` says."""
    components: Sequence[str]
    """Of the end that is not named."""
    pick: Pick | None
    kind: Kind
    when: Mapping[str, Json] | None
    """Which messages pass; None: all."""
    map: Mapping[str, Json] | None
    """What becomes of their bodies; None: they stay as they are."""
    errors: bool
    """Whether errors pass, too."""


@dataclass(frozen=True, slots=True)
class Definition:
    """What a system is made of."""

    name: str
    limits: Limits
    entities: Sequence[Entity]
    channels: Sequence[Channel]

    @classmethod
    def decode(cls, values: Mapping[str, Any]) -> Definition:
        """Of an object whose shape is checked and has its defaults."""
        return cls(
            values["name"],
            Limits(**values["limits"]),
            [_entity(entity) for entity in values["entities"]],
            [_channel(channel) for channel in values["channels"]],
        )


def _entity(values: Mapping[str, Any]) -> Entity:
    mailbox = values["mailbox"]
    more = {name: value for name, value in values.items() if name != "mailbox"}
    return Entity(mailbox=Mailbox(mailbox["size"], WhenFull(mailbox["when_full"])), **more)


def _channel(values: Mapping[str, Any]) -> Channel:
    return Channel(
        sender=values["from"],
        to=values["to"],
        components=values["with"],
        pick=Pick(values["pick"]) if values["pick"] is not None else None,
        kind=Kind(values["kind"]),
        when=values["when"],
        map=values["map"],
        errors=values["errors"],
    )
