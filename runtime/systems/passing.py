"""What passes a channel: its filter, and what it makes of a body, as a definition says them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import orjson

from runtime.model import Json

_NAME = re.compile(r"\{(content|data(?:\.[A-Za-z0-9_-]+)*)\}")
"""Where a map names a part of a body."""

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


def mapped(template: Mapping[str, Json] | None, body: Mapping[str, Json]) -> dict[str, Json]:
    """What a map makes of a body; without one it stays as it is."""
    if template is None:
        return dict(body)
    content = _filled(template.get("content", body.get("content") or ""), body)
    data = _filled(template["data"], body) if "data" in template else body.get("data") or {}
    return {"content": content if isinstance(content, str) else _shown(content), "data": data}


def _filled(template: Json, body: Mapping[str, Json]) -> Json:
    """A template with the values that it names. A text that is one name only becomes its value."""
    if isinstance(template, Mapping):
        return {name: _filled(value, body) for name, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, body) for value in template]
    if not isinstance(template, str):
        return template
    if whole := _NAME.fullmatch(template):
        return _value(whole[1], body)
    return _NAME.sub(lambda name: _shown(_value(name[1], body)), template)


def _value(path: str, body: Mapping[str, Json]) -> Json:
    value: Json = body
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _shown(value: Json) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
