"""What the OpenAPI document says of bounds and errors beyond what flask-smorest reads from the views.

Whatever refuses a request is to be found in the document: a client that is made from it,
or a test, otherwise learns of it by being refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from runtime.transfer.format import ThreadExport
from web.api import message_data
from web.api.schemas.outputs import Output

NO_NUL = r"^[^\u0000]*$"
"""The pattern of every text that is stored: databases cannot store the NUL character."""

_END = r"\Z"
_PROBLEM = "application/problem+json"
_EXPORT, _IMPORTED = "Export", "ThreadExport"
_ERRORS: Mapping[int, str] = {
    400: "The body is not valid JSON, or ended too early",
    401: "Not signed in, or no longer",
    403: "Not allowed; with a cookie also: the request does not come from our own pages",
    404: "There is no such thing, or it is not yours",
    408: "The body came too slowly",
    409: "It does not fit what is there",
    413: "The body is larger than it may be",
    421: "The installation does not answer to the host name of the request",
    422: "A field is not valid; `errors` names it",
    429: "Too many; `Retry-After` says when to try again",
    503: "The database, Redis or the broker is away for a moment",
}
_ALWAYS = (421, 429, 503)
_HEADERS: Mapping[int, Mapping[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: {"Retry-After": {"schema": {"type": "integer", "minimum": 0}, "description": "seconds"}},
    503: {"Retry-After": {"schema": {"type": "integer", "minimum": 0}, "description": "seconds"}},
}


def of_field(_: Any, field: fields.Field[Any], ret: dict[str, Any], **__: Any) -> dict[str, Any]:
    """For apispec: the bounds of a field that it does not write, or writes as Python means them."""
    told: dict[str, Any] = {}
    for validator in field.validators:
        if isinstance(validator, validate.Range):
            if not validator.min_inclusive and "minimum" in ret:
                told["exclusiveMinimum"] = ret.pop("minimum")
            if not validator.max_inclusive and "maximum" in ret:
                told["exclusiveMaximum"] = ret.pop("maximum")
        elif isinstance(validator, validate.Regexp):
            # Python matches at the beginning, JSON Schema anywhere, and \Z is Python's alone.
            pattern = str(validator.regex.pattern)
            told["pattern"] = f"^{pattern.removeprefix('^').removesuffix(_END)}$"
    if isinstance(field, fields.String) and not told and not ret.get("enum") and not _is_of_output(field):
        told["pattern"] = ret.get("pattern", NO_NUL)
    return told


def complete(document: dict[str, Any]) -> None:
    """Write into the document what is known once all of it is there."""
    schemas, answers = document["components"]["schemas"], document["components"]["responses"]
    # An export is checked in a thread of its own, by the schema that says what it holds.
    schemas[_EXPORT] = {**schemas.pop(_IMPORTED), "description": "A thread as an export contains it."}
    message_data.describe(document)
    for status, description in _ERRORS.items():
        answers[f"ERROR_{status}"] = _error(status, description)
    for path in document["paths"].values():
        _give_headers_to_their_operation(path)
        shared = path.get("parameters", [])
        for method, operation in path.items():
            if method == "parameters":
                continue
            for parameter in operation.get("parameters", []):
                _leave_out_null(parameter["schema"])
            for status in _statuses(method, operation, [*shared, *operation.get("parameters", [])]):
                operation["responses"][str(status)] = {"$ref": f"#/components/responses/ERROR_{status}"}


def register(spec: Any) -> None:
    """Have the document hold the schema of exports."""
    spec.components.schema(_IMPORTED, schema=ThreadExport)


def _is_of_output(field: fields.Field[Any]) -> bool:
    return isinstance(field.root, Output) if isinstance(field.root, ma.Schema) else True


def _error(status: int, description: str) -> dict[str, Any]:
    content = {_PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": description, "content": content, "headers": dict(_HEADERS.get(status, {}))}


def _statuses(method: str, operation: Mapping[str, Any], parameters: list[Any]) -> Iterator[int]:
    """The errors that an operation may answer."""
    yield from _ALWAYS
    places = {parameter["in"] for parameter in parameters}
    if operation["security"]:
        yield 401
    if method != "get":
        yield from (403, 409, 413)
    if "path" in places:
        yield 404
    if "requestBody" in operation:
        yield from (400, 408, 422)
        if not operation["security"]:
            yield 401  # signing in fails so
    if {"query", "header"} & places:
        yield 422


def _give_headers_to_their_operation(path: dict[str, Any]) -> None:
    """flask-smorest documents a header that one view reads for every method of its path."""
    headers = [one for one in path.get("parameters", []) if one["in"] == "header"]
    if headers:
        path["parameters"] = [one for one in path["parameters"] if one["in"] != "header"]
        operation = path["post" if "post" in path else "get"]
        operation["parameters"] = [*operation.get("parameters", []), *headers]


def _leave_out_null(schema: dict[str, Any]) -> None:
    """A parameter in a query is there or not there; it is never null."""
    if isinstance(schema.get("type"), list):
        kinds = [kind for kind in schema["type"] if kind != "null"]
        schema["type"] = kinds[0] if len(kinds) == 1 else kinds
    if schema.get("default", 0) is None:
        del schema["default"]
    if None in schema.get("enum", ()):
        schema["enum"] = [value for value in schema["enum"] if value is not None]
