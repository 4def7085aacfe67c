"""JSON Schema: whether a document is one, and what is wrong with a value by it.

Both may need any length of time, because an author wrote the schema: a pattern can
backtrack for years. :func:`examine` is what another process is asked, which can be ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cache
from itertools import islice
from typing import Any

import jsonschema
from jsonschema.validators import Draft202012Validator, extend, validator_for
from jsonschema_specifications import REGISTRY
from referencing import Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from runtime.errors import LimitExceeded
from runtime.model import Json
from runtime.registry.defaults import Defaults
from runtime.registry.sentences import sentence

_MAX_ERRORS = 100
"""Errors that are reported at once."""

Mistake = tuple[list[str | int], str]
"""Where a value is wrong, outermost first, and how."""


def examine(question: Mapping[str, Any]) -> dict[str, Any]:
    """Answer ``{"schema"}`` with ``{"fault"}``.

    And ``{"schema", "value", "most"}`` with ``{"value", "mistakes"}``: :func:`filled`, then :func:`mistakes`.
    """
    if "value" in question:
        value, found = filled(question["schema"], question["value"], question["most"])
        return {"value": value, "mistakes": mistakes(question["schema"], value) if found == [] else found}
    return {"fault": fault(question["schema"])}


def fault(document: Mapping[str, Json]) -> str | None:
    """Why ``document`` is not a usable JSON Schema, said of "its config schema"; None: it is one."""
    kind = draft(document)
    if kind is None:
        return (
            f"names the unknown draft {document['$schema']!r}; "
            'use "$schema": "https://json-schema.org/draft/2020-12/schema"'
        )
    try:
        kind.check_schema(document)
        lost = _lost_reference(document)
    except jsonschema.SchemaError as error:
        at = "/".join(map(str, error.absolute_path)) or "its top level"
        return f"is not valid JSON Schema at {at}: {_shorten(error.message)}"
    except RecursionError:
        return "nests too deeply"
    return None if lost is None else f"refers to {lost!r}, which is not in it; put that part under $defs"


def filled(document: Mapping[str, Json], value: Json, most: int) -> tuple[Json, list[Mistake] | None]:
    """``value`` with the defaults of the schema, which may be ``most`` bytes as JSON.

    And what is wrong with that: nothing; that they are larger; None: value or schema is too deep.
    """
    try:
        return Defaults(_validator(document), _resolver(document), most).fill(value), []
    except RecursionError:
        return value, None
    except LimitExceeded:
        return value, [([], f"must be smaller: the schema's defaults add more than {most >> 10} KiB to it")]


def mistakes(document: Mapping[str, Json], value: Json) -> list[Mistake] | None:
    """What is wrong with ``value``, a hundred mistakes at most; None: value or schema is too deep."""
    try:
        found = [*islice(_validator(document).iter_errors(value), _MAX_ERRORS)]
    except (Unresolvable, RecursionError):
        return None
    found.sort(key=lambda error: list(map(str, error.path)))
    return [([*error.absolute_path], _shorten(sentence(error))) for error in found]


def draft(document: Mapping[str, Json]) -> Any:
    """The validator class of the draft that the document names; None: there is no such draft."""
    if "$schema" not in document:
        return Draft202012Validator
    unknown: Any = None
    try:
        return validator_for(document, default=unknown)
    except (AttributeError, TypeError, ValueError):  # not even a URI
        return unknown


def _validator(document: Mapping[str, Json]) -> Any:
    kind = _exact(draft(document) or Draft202012Validator)
    # Without its name, lest a reference to all of the document leads to the validator of that name.
    unnamed = {keyword: value for keyword, value in document.items() if keyword != "$schema"}
    return kind(unnamed, registry=REGISTRY, format_checker=kind.FORMAT_CHECKER)


@cache
def _exact(kind: Any) -> Any:
    """The validator class with exact decimals: 4.35 is a multiple of 0.01, as it is written."""
    keywords = {"multipleOf": _multiple_of, "divisibleBy": _multiple_of}
    known = {name: rule for name, rule in keywords.items() if name in kind.VALIDATORS}
    return extend(kind, known)  # type: ignore[no-untyped-call]


def _multiple_of(validator: Any, unit: Any, value: Any, _: Any) -> Iterator[jsonschema.ValidationError]:
    if validator.is_type(value, "number") and Fraction(str(value)) % Fraction(str(unit)):
        yield jsonschema.ValidationError(f"{value!r} is not a multiple of {unit!r}")


def _resolver(document: Mapping[str, Json]) -> Any:
    resource = Resource.from_contents(document, default_specification=DRAFT202012)
    return REGISTRY.with_resource("", resource).resolver()


def _lost_reference(document: Mapping[str, Json]) -> str | None:
    """A reference that leads nowhere."""
    resolver = _resolver(document)
    for reference in _references(document):
        try:
            resolver.lookup(reference)
        except (Unresolvable, LookupError, TypeError, ValueError):  # the last three: bad pointers
            return reference
    return None


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
