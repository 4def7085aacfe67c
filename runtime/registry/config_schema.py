"""The JSON Schema of a worker's config: read once, then used to check the config of every run.

Each schema is read by the draft that its ``$schema`` names (2020-12 without one). It may
refer to itself and to the published drafts, and to nothing else, so checking a config
never opens a connection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from itertools import islice
from pathlib import Path
from typing import Any

import jsonschema
import orjson
from jsonschema.validators import Draft202012Validator, validator_for
from jsonschema_specifications import REGISTRY
from referencing import Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from runtime.errors import FieldError, Invalid, WorkerInvalid
from runtime.model import Json

_MAX_ERRORS = 100
"""Errors that are reported at once."""

ANYTHING: Mapping[str, Json] = {"type": "object"}
"""The schema of a worker without one."""


class ConfigSchema:
    """What a worker accepts as its config."""

    def __init__(self, document: Mapping[str, Json]) -> None:
        """Raises WorkerInvalid where ``document`` is not a usable JSON Schema."""
        kind = _validator(document)
        try:
            kind.check_schema(document)
            _check_references(document)
        except jsonschema.SchemaError as error:
            at = "/".join(map(str, error.absolute_path)) or "its top level"
            raise WorkerInvalid(
                f"its config schema is not valid JSON Schema at {at}: {_shorten(error.message)}"
            ) from error
        except RecursionError as error:
            raise WorkerInvalid("its config schema nests too deeply") from error
        self.document = document
        self._validator: Any = kind(document, registry=REGISTRY, format_checker=kind.FORMAT_CHECKER)

    @classmethod
    def read(cls, path: Path) -> ConfigSchema:
        """The schema in a file. Raises WorkerInvalid that says what is wrong with it."""
        try:
            document = orjson.loads(path.read_bytes())
        except OSError as error:
            raise WorkerInvalid(f"its config schema {path.name} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise WorkerInvalid(f"its config schema {path.name} is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise WorkerInvalid(f"its config schema {path.name} must be a JSON object")
        return cls(document)

    def check(self, config: Mapping[str, Json]) -> dict[str, Json]:
        """``config`` with the schema's defaults filled in.

        Raises Invalid with one FieldError for each mistake, its path
        beginning with "config".
        """
        filled = {**config}
        try:
            _fill(self.document, filled)
            mistakes = islice(self._validator.iter_errors(filled), _MAX_ERRORS)
            found = sorted(mistakes, key=lambda error: list(map(str, error.path)))
        except (Unresolvable, RecursionError) as error:
            raise Invalid("The config cannot be checked: its nesting or its schema is too deep.") from error
        if found:
            errors = [
                FieldError(("config", *error.absolute_path), _shorten(error.message)) for error in found
            ]
            raise Invalid("The config does not match the worker's schema.", errors)
        return filled


def _validator(document: Mapping[str, Json]) -> Any:
    """The validator class of the draft that the document names."""
    if "$schema" not in document:
        return Draft202012Validator
    unknown: Any = None
    try:
        kind = validator_for(document, default=unknown)
    except (AttributeError, TypeError, ValueError):  # not even a URI
        kind = unknown
    if kind is unknown:
        raise WorkerInvalid(
            f"its config schema names the unknown draft {document['$schema']!r}; "
            'use "$schema": "https://json-schema.org/draft/2020-12/schema"'
        )
    return kind


def _fill(schema: Any, value: dict[str, Json]) -> None:
    """Put the defaults of ``properties`` into ``value``, those of inner objects too."""
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    for name, inner in (properties or {}).items():
        if not isinstance(inner, Mapping):
            continue
        if name not in value and "default" in inner:
            value[name] = deepcopy(inner["default"])
        if isinstance(value.get(name), dict):
            value[name] = {**value[name]}
            _fill(inner, value[name])


def _check_references(document: Mapping[str, Json]) -> None:
    resource = Resource.from_contents(document, default_specification=DRAFT202012)
    resolver = REGISTRY.with_resource("", resource).resolver()
    for reference in _references(document):
        try:
            resolver.lookup(reference)
        except (
            Unresolvable,
            LookupError,
            TypeError,
            ValueError,
        ) as error:  # the last three: bad pointers
            raise WorkerInvalid(
                f"its config schema refers to {reference!r}, which is not in it; put that part under $defs"
            ) from error


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for inner in node.values():
            yield from _references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _references(inner)


def _shorten(text: str, length: int = 300) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
