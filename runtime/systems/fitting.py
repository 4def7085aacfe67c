"""Whether what one JSON Schema lets through, another one takes.

That cannot be told in general. What is told here is what plain keywords say: ``type``, ``enum``, ``const``,
``required``, ``properties``, ``additionalProperties`` and ``items``. What combines schemas, such as
``$ref`` or ``anyOf``, is taken to fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson

from runtime.model import Json

_LONGEST = 100
"""Characters of a value that is shown."""
_COMBINING = {
    "$ref",
    "$dynamicRef",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "patternProperties",
}
"""Keywords because of which the plain ones do not say all."""


_TYPES = {
    str: "string",
    bool: "boolean",
    type(None): "null",
    list: "array",
    dict: "object",
}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Where what is sent may be refused."""

    at: tuple[str, ...]
    """Names of properties, outermost first; ``[]`` is an item of a list."""
    why: str
    always: bool
    """Whether nothing that is sent is taken because of it."""


def mismatches(sent: Json, taken: Json) -> Iterator[Mismatch]:
    """Where a value that fits the schema ``sent`` may not fit ``taken``."""
    return _mismatches(sent, taken, (), True)


def _mismatches(sent: Json, taken: Json, at: tuple[str, ...], always: bool) -> Iterator[Mismatch]:
    """``always``: whether there is something at that place in all that is sent."""
    if not isinstance(sent, Mapping) or not isinstance(taken, Mapping):
        return
    if _COMBINING & (sent.keys() | taken.keys()):
        return
    found = _of_value(sent, taken)
    if found is not None:
        yield Mismatch(at, found[0], found[1] and always)
    if found is not None and found[1]:
        return
    types = _types(sent)
    if types is not None and "object" in types:
        only = always and types == {"object"}
        yield from _of_names(sent, taken, at, only)
        described, promised = _properties(taken), _required(sent)
        for name, schema in _properties(sent).items():
            if name in described:
                there = only and name in promised
                yield from _mismatches(schema, described[name], (*at, name), there)
    yield from _mismatches(sent.get("items"), taken.get("items"), (*at, "[]"), False)


def _of_value(sent: Mapping[str, Json], taken: Mapping[str, Json]) -> tuple[str, bool] | None:
    """Why values or their types differ, and whether all do."""
    listed, accepted = _listed(sent), _listed(taken)
    if listed is not None and accepted is not None:
        refused = [value for value in listed if value not in accepted]
        if refused:
            return f"{_shown(refused[0])} is not among the values that are taken", len(refused) == len(listed)
    types, wanted = _types(sent), _types(taken)
    if types is None or wanted is None:
        return None
    others = {one for one in types if one not in wanted and not (one == "integer" and "number" in wanted)}
    if not others:
        return None
    why = f"{_either(others)} is sent, and {_either(wanted)} is taken"
    return why, others == types


def _of_names(
    sent: Mapping[str, Json],
    taken: Mapping[str, Json],
    at: tuple[str, ...],
    always: bool,
) -> Iterator[Mismatch]:
    """Properties that are missing, or that are not taken."""
    promised, described = _required(sent), _properties(sent)
    closed = sent.get("additionalProperties") is False
    for name in _required(taken):
        if name not in promised:
            never = closed and name not in described
            why = "is required, and never sent" if never else "is required, and need not be sent"
            yield Mismatch((*at, name), why, never and always)
    if taken.get("additionalProperties") is not False:
        return
    for name in described:
        if name not in _properties(taken):
            yield Mismatch((*at, name), "is sent, and is not taken", name in promised and always)


def _types(schema: Mapping[str, Json]) -> set[str] | None:
    """The types that a value may have; None: the schema does not say."""
    given = schema.get("type")
    if isinstance(given, str):
        return {given}
    if isinstance(given, list):
        return {one for one in given if isinstance(one, str)}
    listed = _listed(schema)
    return None if listed is None else {_type(value) for value in listed}


def _type(value: Json) -> str:
    return _TYPES.get(type(value)) or ("integer" if float(value).is_integer() else "number")


def _listed(schema: Mapping[str, Json]) -> list[Json] | None:
    """The values that it lets through; None: it has no list of them."""
    if "const" in schema:
        return [schema["const"]]
    given = schema.get("enum")
    return given if isinstance(given, list) and given else None


def _properties(schema: Mapping[str, Json]) -> Mapping[str, Json]:
    given = schema.get("properties")
    return given if isinstance(given, Mapping) else {}


def _required(schema: Mapping[str, Json]) -> list[str]:
    given = schema.get("required")
    return [name for name in given if isinstance(name, str)] if isinstance(given, list) else []


def _either(types: set[str]) -> str:
    return " or ".join(sorted(types))


def _shown(value: Json) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
