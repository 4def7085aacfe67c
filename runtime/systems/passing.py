"""What passes a channel: its filter, and what it makes of a body, as a definition says them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import orjson

from runtime.model import Json

_NAME = re.compile(r"\{(content|data(?:\.[A-Za-z0-9_-]+)*)\}")
"""Where a map names a part of a body."""
LARGEST = 1 << 20
"""Bytes that a map may make of one body."""
_LARGEST_IN_ALL = 16 << 20
"""Bytes of all bodies that maps make when one message is handled."""
_DEEPEST = 100
"""Objects and lists inside of each other that a map may make."""

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


def passes(when: Mapping[str, Json] | None, body: Mapping[str, Json]) -> bool:
    """Whether a filter lets a body through. Case makes no difference to the text."""
    when = when or {}
    if "contains" in when and when["contains"].casefold() not in str(body.get("content") or "").casefold():
        return False
    data = body.get("data") or {}
    return all(name in data and data[name] == value for name, value in (when.get("data") or {}).items())


class TooLarge(Exception):
    """A map makes more of a body than may be sent."""


class Maps:
    """The maps of the channels that one message goes out through."""

    def __init__(self) -> None:
        self._left = _LARGEST_IN_ALL

    def body(self, template: Mapping[str, Json] | None, body: Mapping[str, Json]) -> dict[str, Json]:
        """What a map makes of a body; without one it stays as it is. Raises TooLarge."""
        if template is None:
            return dict(body)
        filling = _Filling(body, min(self._left, LARGEST))
        try:
            return filling.of(template)
        finally:
            self._left -= filling.spent


class _Filling:
    """One template, filled with the values of a body. What is put in is counted before it is."""

    def __init__(self, body: Mapping[str, Json], most: int) -> None:
        self._body, self._most = body, most
        self.spent = 0

    def of(self, template: Mapping[str, Json]) -> dict[str, Json]:
        """The body. Raises TooLarge."""
        content = self._filled(template.get("content", "{content}"), 1)
        data = self._filled(template.get("data", "{data}"), 1)
        shown = content if isinstance(content, str) else _shown(content)
        return {"content": shown, "data": {} if data is None else data}

    def _filled(self, template: Json, depth: int) -> Json:
        """A template with the values that it names. A text that is one name only becomes its value."""
        if depth > _DEEPEST:
            raise TooLarge
        if isinstance(template, Mapping):
            return {name: self._filled(value, depth + 1) for name, value in template.items()}
        if isinstance(template, list):
            return [self._filled(value, depth + 1) for value in template]
        if not isinstance(template, str):
            return template
        if whole := _NAME.fullmatch(template):
            value = self._value(whole[1])
            if _is_deeper(value, _DEEPEST - depth):
                raise TooLarge
            return value
        return _NAME.sub(lambda name: _shown(self._value(name[1])), template)

    def _value(self, path: str) -> Json:
        value = _value(path, self._body)
        try:
            self.spent += len(orjson.dumps(value))
        except orjson.JSONEncodeError as error:
            raise TooLarge from error
        if self.spent > self._most:
            raise TooLarge
        return value


def _is_deeper(value: Json, most: int) -> bool:
    """Whether there are more than ``most`` objects and lists inside of each other."""
    level = [value]
    for _ in range(most + 1):
        level = [inner for one in level if isinstance(one, Mapping | list) for inner in _inside(one)]
        if not level:
            return False
    return True


def _inside(value: Mapping[str, Json] | list[Json]) -> Iterable[Json]:
    return value.values() if isinstance(value, Mapping) else value


def _value(path: str, body: Mapping[str, Json]) -> Json:
    value: Json = body
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _shown(value: Json) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
