"""What the ``data`` of each message type may hold, as JSON Schemas.

No name is required, for a message begins with what is known of it and its end may bring
more. Names that a schema does not have are allowed: whoever writes a message may add its own.

The schemas are written with ``type``, ``items``, ``properties`` and ``description`` only. That
is all of JSON Schema that :func:`mistake` reads, which needs no library and looks at the names
of the schema only, however large the data is. A text has none, so it costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ..messages import Json
from .values import MessageType


def _object(description: str, **properties: Json) -> dict[str, Json]:
    return {"type": "object", "description": description, "properties": properties}


def _of(*types: str, **more: Json) -> dict[str, Json]:
    """One of these types, or null, which is as good as leaving the name out."""
    return {"type": [*types, "null"], **more}


def _text(description: str) -> dict[str, Json]:
    return _of("string", description=description)


DATA: Final[Mapping[MessageType, dict[str, Json]]] = {
    MessageType.TEXT: _object("A text needs no data."),
    MessageType.CODE: _object(
        "What the source text of a message of type code is.",
        language=_text("its language, as in `python`"),
        format=_text("which form of it, where a language has several"),
        title=_text("what is written above it, such as the name of a file"),
    ),
    MessageType.CONSOLE: _object(
        "Whose output a message of type console is.",
        command=_text("what was executed"),
    ),
    MessageType.IMAGE: _object(
        "The picture of a message of type image.",
        url=_text("a `data:` URL in base64, of image/png, jpeg, gif, webp or avif; no other is shown"),
    ),
    MessageType.FUNCTION: _object(
        "A call of a function, or its result.",
        name=_text("of the function"),
        call_id=_text("what the call and its result have in common"),
        arguments={"description": "JSON, as a value or as text"},
        result={"description": "any JSON"},
        is_error=_of("boolean", description="whether the call failed, and the result says why"),
    ),
    MessageType.CONFIRMATION: _object(
        "A question of a run, which the `confirm` of the protocol asks.",
        id=_text("by which it is answered"),
        options=_of("array", items={"type": "string"}, description="the answers to choose from"),
        schema=_of("object", description="the JSON Schema of the answer"),
        answer={"description": "any JSON, once it is answered"},
        withdrawn=_of("boolean", description="whether no answer is needed any more"),
    ),
}

_IS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "null": lambda value: value is None,
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
}
_WORDS: Final = {
    "string": "a string",
    "boolean": "true or false",
    "number": "a number",
    "object": "an object",
    "array": "a list",
}


def mistake(type: MessageType, data: Mapping[str, Json]) -> tuple[str, str] | None:
    """The first name in ``data`` whose value is not what a message of ``type`` has there, and how."""
    for name, schema in DATA[type]["properties"].items():
        if name in data and not _fits(schema, data[name]):
            return name, f"must be {_said(schema)}"
    return None


def fitting(type: MessageType, data: dict[str, Json]) -> tuple[dict[str, Json], str]:
    """``data`` without the names whose value is not what a message of ``type`` has there.

    And a sentence for the log that names them; empty where there are none.
    """
    if mistake(type, data) is None:
        return data, ""
    properties = DATA[type]["properties"]
    kept = {
        name: value
        for name, value in data.items()
        if name not in properties or _fits(properties[name], value)
    }
    names = ", ".join(name for name in data if name not in kept)
    return kept, f"[branchline] left out of the data of a message of type {type}: {names}\n"


def _types(schema: Mapping[str, Json]) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else list(types)


def _fits(schema: Mapping[str, Json], value: Json) -> bool:
    types = _types(schema)
    if types and not any(_IS[one](value) for one in types):
        return False
    if "items" in schema and isinstance(value, list):
        return all(_fits(schema["items"], one) for one in value)
    return True


def _said(schema: Mapping[str, Json]) -> str:
    said = " or ".join(_WORDS[one] for one in _types(schema) if one != "null")
    items = _types(schema.get("items", {}))
    return f"{said} of {items[0]}s" if items else said
