"""What the OpenAPI document says of the ``data`` of each message type."""

from __future__ import annotations

from typing import Any

from runtime.model import MessageType
from runtime.sdk.protocol.message_types import DATA


def describe(document: dict[str, Any]) -> None:
    """Write the schema of each type into the document, and which of them a new message is held to.

    Messages that are read are not: one may be older than its type's schema.
    """
    schemas = document["components"]["schemas"]
    for type, schema in DATA.items():
        schemas[_name(type)] = {**schema, "additionalProperties": True}
    schemas["MessageInput"]["allOf"] = [
        {
            "if": {"properties": {"type": {"const": str(type)}}, "required": ["type"]},
            "then": {"properties": {"data": {"$ref": f"#/components/schemas/{_name(type)}"}}},
        }
        for type, schema in DATA.items()
        if schema["properties"]
    ]


def _name(type: MessageType) -> str:
    return f"{type.capitalize()}Data"
