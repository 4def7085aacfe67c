"""Which entity sends to which, by the channels of a definition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runtime.systems.definition import Channel, Definition, Entity


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
        for sender, to in _ends(channel, definition.entities):
            if sender in names and to in names:
                yield Edge(sender, to, place)


def those_with(components: Sequence[str], entities: Sequence[Entity]) -> list[str]:
    """The names of the entities that have all these components."""
    return [entity.name for entity in entities if all(map(entity.has, components))]


def _ends(channel: Channel, entities: Sequence[Entity]) -> Iterator[tuple[str, str]]:
    """An entity that is chosen by its components is another one than that at the other end."""
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
