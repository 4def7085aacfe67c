"""The kinds of fields that the schemas are made of."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields, validate

from runtime.errors import Invalid
from runtime.registry.config_schema import MAX_BYTES, check_size
from runtime.transfer.format import Several

__all__ = [
    "Config",
    "Flag",
    "Id",
    "Number",
    "Object",
    "Several",
    "Value",
    "integer",
    "named",
    "one_of",
    "says",
    "text",
]


def says(text: str) -> dict[str, str]:
    """Metadata: what a field is for."""
    return {"description": text}


def text(longest: int, **options: Any) -> fields.String:
    """A text of at most ``longest`` characters."""
    return fields.String(validate=validate.Length(max=longest), **options)


def named(longest: int = 200, **options: Any) -> fields.String:
    """A text that is not empty."""
    return fields.String(validate=validate.Length(min=1, max=longest), **options)


def one_of(enum: Any, **options: Any) -> fields.String:
    """One of the values of ``enum``."""
    values = [str(value) for value in enum]
    return fields.String(validate=validate.OneOf(values, error="must be one of: {choices}"), **options)


def integer(least: int, greatest: int, **options: Any) -> fields.Integer:
    """An integer within bounds. A string or a fraction that could be read as one is refused."""
    return fields.Integer(strict=True, validate=validate.Range(least, greatest), **options)


class Number(fields.Float):
    """A number. A string or boolean that could be read as one is refused."""

    def _validated(self, value: Any) -> float:
        if isinstance(value, str | bool):
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


class Flag(fields.Boolean):
    """``true`` or ``false``. A string or number that could be read as one of them is refused."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Object(fields.Field[dict[str, Any]]):
    """Any JSON object."""

    default_error_messages = {"invalid": "must be a JSON object"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        return value


class Config(Object):
    """A worker's config: a JSON object of bounded size."""

    def __init__(self, note: str = "", **options: Any) -> None:
        bound = f"at most {MAX_BYTES >> 10} KiB as JSON"
        super().__init__(metadata=says(f"{note}; {bound}" if note else bound), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        config = super()._deserialize(value, attr, data, **kwargs)
        try:
            check_size(config)
        except Invalid as error:
            raise ValidationError(error.errors[0].message) from error
        return config


class Value(fields.Raw):
    """Any JSON value."""


class Id(fields.UUID):
    """An id, as lower-case text."""

    default_error_messages = {"invalid_uuid": "is not an id"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        return str(super()._deserialize(value, attr, data, **kwargs))
