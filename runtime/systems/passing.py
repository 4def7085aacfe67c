"""What passes a channel: its filter, and what it makes of a body, as a definition says them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runtime.model import Json

Wrong = tuple[str, str]
"""The name of what is wrong, and how it is."""


def wrong_in_filter(when: Mapping[str, Json]) -> Iterator[Wrong]:
    """What is wrong with ``{contains?, data?}``: a text in the content, and values of names in the data."""
    for name, value in when.items():
        if name == "contains":
            if not isinstance(value, str) or not value:
                yield name, "must be a text that is not empty"
        elif name == "data":
            if not isinstance(value, Mapping):
                yield (
                    name,
                    "must be an object: names in the data of a message, each with its value",
                )
        else:
            yield name, "is none of contains and data"


def wrong_in_map(template: Mapping[str, Json]) -> Iterator[Wrong]:
    """What is wrong with ``{content?, data?}``: the body as it becomes, with ``{content}`` and
    ``{data.name}`` for what it was."""
    for name, value in template.items():
        if name == "content":
            if not isinstance(value, str):
                yield name, "must be a text"
        elif name == "data":
            if not isinstance(value, Mapping):
                yield name, "must be an object"
        else:
            yield name, "is none of content and data"
