"""Forms: what a JSON Schema asks for, field by field, and the values back.

Fields are made for what a form can ask for simply. Anything else (lists, objects, alternatives)
is asked for as JSON. The web process checks the values; here nothing is refused but text that
is no JSON and a number that is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from runtime.errors import Invalid
from runtime.model import Json

_LONG = 200
"""Characters that are allowed in a text which gets several lines."""


class Kind(StrEnum):
    """What a field is entered with."""

    TEXT = "text"
    LINES = "lines"
    HIDDEN = "hidden"
    """A text that nobody is to read over a shoulder."""
    NUMBER = "number"
    CHECK = "check"
    CHOICE = "choice"
    JSON = "json"
    FIXED = "fixed"
    """There is one value only, so nothing is asked for."""


@dataclass(frozen=True, slots=True)
class Field:
    """One property of an object."""

    name: str
    kind: Kind
    title: str
    info: str
    value: Json
    """What it begins with; None where it begins empty."""
    required: bool
    choices: tuple[tuple[str, Json], ...] = ()
    """Title and value of each choice."""


def fields(schema: Mapping[str, Json], given: Mapping[str, Json] | None = None) -> list[Field]:
    """The fields of an object's schema; they begin with what is ``given``, else with their defaults."""
    properties = schema.get("properties")
    required = schema.get("required") or ()
    if not isinstance(properties, Mapping):
        return []
    return [
        _field(name, one if isinstance(one, Mapping) else {}, name in required, given or {})
        for name, one in properties.items()
    ]


def _field(name: str, schema: Mapping[str, Json], required: bool, given: Mapping[str, Json]) -> Field:
    kind, choices = _kind(schema)
    value = given.get(name, schema.get("default"))
    if kind == Kind.FIXED:
        value = schema["const"] if required else value
    called = str(schema.get("title") or name)
    return Field(
        name,
        kind,
        f"{called} (JSON)" if kind == Kind.JSON else called,
        str(schema.get("description") or ""),
        value,
        required,
        choices,
    )


def _kind(schema: Mapping[str, Json]) -> tuple[Kind, tuple[tuple[str, Json], ...]]:
    if "const" in schema:
        return Kind.FIXED, ()
    if isinstance(schema.get("enum"), list):
        return Kind.CHOICE, tuple((title(one), one) for one in schema["enum"])
    alternatives = schema.get("oneOf") or schema.get("anyOf")
    if isinstance(alternatives, list):
        if all(isinstance(one, Mapping) and "const" in one for one in alternatives):
            return Kind.CHOICE, tuple(
                (str(one.get("title") or title(one["const"])), one["const"]) for one in alternatives
            )
        return Kind.JSON, ()
    match schema.get("type"):
        case "boolean":
            return Kind.CHECK, ()
        case "integer" | "number":
            return Kind.NUMBER, ()
        case "string" if schema.get("format") == "password" or schema.get("writeOnly"):
            return Kind.HIDDEN, ()
        case "string":
            return Kind.LINES if schema.get("maxLength", 0) > _LONG else Kind.TEXT, ()
    return Kind.JSON, ()


def title(value: Json) -> str:
    """A value as a choice is called that has no title."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def entered(field: Field) -> Any:
    """What the field begins with, as it is entered."""
    match field.kind:
        case Kind.JSON | Kind.NUMBER:
            return "" if field.value is None else orjson.dumps(field.value).decode()
        case Kind.CHECK:
            return field.value is True
        case Kind.CHOICE:
            return next((at for at, (_, value) in enumerate(field.choices) if value == field.value), None)
    return field.value if isinstance(field.value, str) else ""


def values(asked: Sequence[Field], given: Sequence[Any]) -> dict[str, Json]:
    """The object that was entered; empty fields are left out. Raises Invalid."""
    found = {field.name: _value(field, value) for field, value in zip(asked, given, strict=True)}
    return {name: value for name, value in found.items() if value is not None}


def _value(field: Field, given: Any) -> Json:
    match field.kind:
        case Kind.FIXED:
            return field.value
        case Kind.CHECK:
            unchanged = not given and field.value is None and not field.required
            return None if unchanged else bool(given)
        case Kind.CHOICE:
            return None if given is None else field.choices[int(given)][1]
        case Kind.NUMBER:
            number = _entered_json(field, given)
            if isinstance(number, bool) or not isinstance(number, int | float | None):
                raise Invalid(f"{field.title} is not a number.")
            return number
        case Kind.JSON:
            return _entered_json(field, given)
    text = str(given or "")
    return text if text or field.value else None


def _entered_json(field: Field, given: Any) -> Json:
    text = str(given or "").strip()
    if not text:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"{field.title} cannot be read: {error}") from error
