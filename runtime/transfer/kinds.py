"""The kinds of fields that the schemas of requests and of exports are made of.

A field that both have, such as a title, is defined here once: what an import accepts is
what a request could have made.
"""

from __future__ import annotations

import re
from typing import Any

import marshmallow as ma
from marshmallow import ValidationError, fields, validate

from runtime.errors import Invalid
from runtime.registry.config_schema import MAX_BYTES, check_size
from runtime.registry.manifest import NAME
from runtime.sdk.protocol.values import MAX_LEVELS, nests_too_deeply

MAX_TIMEOUT = 7 * 86400
"""Seconds that a request may give a run."""
_ENOUGH_WRONG = 100


_UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"


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
    return Whole(strict=True, validate=validate.Range(least, greatest), **options)


class Whole(fields.Integer):
    """An integer as JSON has it, where 1.0 is one (JSON Schema, section 6.1.1)."""

    def _validated(self, value: Any) -> int:
        return super()._validated(int(value) if isinstance(value, float) and value.is_integer() else value)


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


class Part(fields.Field[dict[str, Any]]):
    """A JSON object whose content is checked elsewhere."""

    default_error_messages = {"invalid": "must be a JSON object"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        return value


class Object(Part):
    """Any JSON object that does not nest too deeply."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        given = super()._deserialize(value, attr, data, **kwargs)
        _check_levels(given)
        return given


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
    """Any JSON value that does not nest too deeply."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        _check_levels(value)
        return value


class Id(fields.UUID):
    """An id, as lower-case text."""

    default_error_messages = {"invalid_uuid": "is not an id"}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, str) or not re.fullmatch(_UUID, value):  # uuid.UUID reads other forms too
            raise self.make_error("invalid_uuid")
        return str(super()._deserialize(value, attr, data, **kwargs))


class Several(fields.List[Any]):
    """A list that is measured before any of its items is looked at, and left alone after some wrong ones.

    A body may hold millions of items, and to say what is wrong with each takes minutes.
    """

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        self._validate(value)
        items, wrong = [], {}
        for index, item in enumerate(value):
            try:
                items.append(self.inner.deserialize(item, **kwargs))
            except ma.ValidationError as error:
                wrong[index] = error.messages
                if len(wrong) == _ENOUGH_WRONG:
                    break
        if wrong:
            raise ma.ValidationError(wrong)
        return items


def title(**options: Any) -> fields.String:
    """What a thread is called."""
    return text(500, **options)


def worker_id(**options: Any) -> fields.String:
    """The id of a worker, whether it is installed here or not."""
    return fields.String(validate=NAME, **options)


def pool(**options: Any) -> fields.String:
    """The name of a pool."""
    return fields.String(validate=NAME, **options)


def entity(**options: Any) -> fields.String:
    """The name of an entity of a system."""
    return fields.String(validate=NAME, **options)


def author(**options: Any) -> fields.String:
    """Who wrote a message."""
    return text(200, **options)


def label(**options: Any) -> fields.String:
    """What a state is called."""
    return text(200, **options)


def priority(**options: Any) -> fields.Integer:
    """How soon a run is to start, among those of its user."""
    return integer(-100, 100, **options)


def timeout(**options: Any) -> fields.Float:
    """Seconds that a run may take."""
    return Number(validate=validate.Range(0, MAX_TIMEOUT, min_inclusive=False), **options)


def _check_levels(value: Any) -> None:
    if nests_too_deeply(value):
        raise ValidationError(f"nests deeper than {MAX_LEVELS} levels")
