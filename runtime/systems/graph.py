"""Which entity sends to which, by the channels of a definition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runtime.model import Json
from runtime.systems.definition import Channel, Definition


class Named(Protocol):
    """An entity, of a definition or of a system that lives."""

    @property
    def name(self) -> str:
        """By which channels know it."""
        ...

    @property
    def components(self) -> Mapping[str, Json]:
        """What it can do or is."""
        ...


@dataclass(frozen=True, slots=True)
class Edge:
    """That one entity sends to another, or to itself, through a channel."""

    sender: str
    to: str
    channel: int
    """Its place in the definition."""


def edges(definition: Definition) -> Iterator[Edge]:
    """All of them, in the order of the channels. One that names no entity has none."""
    names = {entity.name for entity in definition.entities}
    for place, channel in enumerate(definition.channels):
        for sender, to in ends(channel, definition.entities):
            if sender in names and to in names:
                yield Edge(sender, to, place)


def those_with(components: Sequence[str], entities: Sequence[Named]) -> list[str]:
    """The names of the entities that have all these components."""
    return [entity.name for entity in entities if all(has(entity, term) for term in components)]


def ends(channel: Channel, entities: Sequence[Named]) -> Iterator[tuple[str, str]]:
    """The names of who sends through a channel, each with whom to.

    An entity that is chosen by its components is another one than that at the other end.
    """
    if channel.sender is not None and channel.to is not None:
        yield channel.sender, channel.to
    elif channel.sender is not None:
        for name in those_with(channel.components, entities):
            if name != channel.sender:
                yield channel.sender, name
    elif channel.to is not None:
        for name in those_with(channel.components, entities):
            if name != channel.to:
                yield name, channel.to


def has(entity: Named, term: str) -> bool:
    """Whether it has a component: ``search``, or one of a value as in ``language:de``."""
    name, colon, wanted = term.partition(":")
    value = entity.components.get(name)
    if not colon:
        return value is not None and value is not False
    return value is not None and _text(value) == wanted


def _text(value: Json) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
