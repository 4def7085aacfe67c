"""Reading requests: JSON bodies and query parameters, checked by marshmallow.

A body is parsed as JSON whatever its content type says. What a database could not
store (a NUL character, endless nesting) is refused here, for every call alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, NoReturn

import marshmallow as ma
import orjson
from flask import Request
from webargs import core as webargs
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, ClientDisconnected, RequestEntityTooLarge, RequestTimeout

from runtime.errors import FieldError, Invalid
from runtime.model import Json
from runtime.system.greenlets import ThreadPool
from web.http.clients import TooSlow
from web.http.gunicorn import BODY_ERRORS
from web.http.problems import MAX_FIELDS

MAX_DEPTH = 64
"""How many levels of arrays and objects a body may have."""
_LARGE = 256 * 1024
"""Bytes from which on a body is parsed in a thread: 10 MB of small values need over a second."""
_PIECE = 64 * 1024
"""Bytes of a body that are taken at once."""

_threads = ThreadPool(1)


class Parser(FlaskParser):
    """webargs as this API uses it."""

    DEFAULT_UNKNOWN_BY_LOCATION = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "query": ma.EXCLUDE}

    def _raw_load_json(self, req: Request) -> Any:
        raw = read_body(req)
        return load_json(raw) if raw.strip() else webargs.missing

    def load_json(self, req: Request, schema: ma.Schema) -> Any:
        """The body; raises Invalid where the schema needs one and there is none."""
        found = super().load_json(req, schema)
        if found is webargs.missing and getattr(schema, "required_body", False):
            raise Invalid("The request needs a body: a JSON object.")
        return found

    def load_querystring(self, req: Request, schema: ma.Schema) -> Any:
        """The query parameters, each once, without NUL characters."""
        for name, values in req.args.lists():
            if any("\0" in value for value in values):
                raise Invalid(f"The query is not valid: {name}: {_NUL}", [FieldError((name,), _NUL)])
            if len(values) > 1 and name in schema.fields:
                raise Invalid(f"The query is not valid: {name}: {_TWICE}", [FieldError((name,), _TWICE)])
        return super().load_querystring(req, schema)

    def handle_error(
        self, error: ma.ValidationError, req: Request, schema: ma.Schema, **kwargs: Any
    ) -> NoReturn:
        """Raise Invalid with the path of every field that is wrong."""
        [(location, messages)] = error.messages_dict.items()
        raise _invalid("body" if location == "json" else location, messages) from error


def load_document(schema: ma.Schema, raw: bytes, what: str) -> Any:
    """JSON that is a part of a body, as ``schema`` reads it. Raises Invalid, BadRequest."""
    try:
        return schema.load(load_json(raw))
    except ma.ValidationError as error:
        raise _invalid(what, error.messages) from error


def _invalid(what: str, messages: Any) -> Invalid:
    fields = list(islice(_flattened(messages), MAX_FIELDS))
    return Invalid(f"The {what} is not valid: {_summary(fields)}", fields)


def read_body(request: Request, keep: bool = False) -> bytes:
    """The request's body. ``keep`` it for a second reader.

    Raises RequestEntityTooLarge, BadRequest, RequestTimeout.
    """
    with _told():
        raw = request.get_data(cache=keep)
    # werkzeug cuts a body that does not say its length at the limit, and raises nothing.
    if request.content_length is None and len(raw) >= (request.max_content_length or len(raw) + 1):
        raise too_large(request.max_content_length or 0)
    return raw


def pieces(request: Request) -> Iterator[bytes]:
    """The request's body as it comes. Raises what :func:`read_body` raises."""
    received = 0
    while True:
        with _told():
            piece = request.stream.read(_PIECE)
        if not piece:
            break
        received += len(piece)
        yield piece
    allowed = request.max_content_length
    if request.content_length is None and allowed is not None and received >= allowed:
        raise too_large(allowed)


@contextmanager
def _told() -> Iterator[None]:
    """Within it, what goes wrong while a body is read is told its client."""
    try:
        yield
    except (ClientDisconnected, *BODY_ERRORS) as error:
        if isinstance(error, TooSlow) or isinstance(error.__context__, TooSlow):
            raise RequestTimeout("The body did not arrive in time.") from error
        raise BadRequest("The body ended too early, or is not what its headers say.") from error


def too_large(allowed: int) -> RequestEntityTooLarge:
    """What is raised for a body of more than so many bytes."""
    return RequestEntityTooLarge(
        f"The request's body is too large: at most {allowed} bytes are accepted here."
    )


def load_json(raw: bytes) -> Json:
    """The JSON in ``raw``. Raises BadRequest if it is malformed, Invalid if it cannot be stored."""
    return _threads.call(_load_json, raw) if len(raw) > _LARGE else _load_json(raw)


def _load_json(raw: bytes) -> Json:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadRequest(f"The body is not valid JSON; see {where}.") from error
    # Walking through a body is slow, and most have neither \u0000 nor enough brackets to nest too deep.
    suspect = b"\\u0000" in raw or raw.count(b"[") + raw.count(b"{") > MAX_DEPTH
    if suspect and not _is_storable(value):
        fields = list(islice(_unstorable(value, ()), MAX_FIELDS))
        raise Invalid(f"The body is not valid: {_summary(fields)}", fields)
    return value


_NUL = "may not contain the NUL character"
_TWICE = "may be given once"


def _is_storable(value: Json) -> bool:
    """Whether :func:`_unstorable` finds nothing. Level by level: a body may hold millions of values."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        next_level: list[Json] = []
        for item in level:
            if isinstance(item, str):
                if "\0" in item:
                    return False
            elif isinstance(item, list):
                next_level += item
            elif isinstance(item, dict):
                if any("\0" in key for key in item):
                    return False
                next_level += item.values()
        if not next_level:
            return True
        level = next_level
    return False


def _unstorable(value: Json, path: tuple[str | int, ...]) -> Any:
    if len(path) > MAX_DEPTH:
        yield FieldError(path[:8], f"nests deeper than {MAX_DEPTH} levels")
    elif isinstance(value, str):
        if "\0" in value:
            yield FieldError(path, _NUL)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unstorable(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            if "\0" in key:
                yield FieldError(path, f"has a name that {_NUL}")
            else:
                yield from _unstorable(item, (*path, key))


def _flattened(messages: Any, path: tuple[str | int, ...] = ()) -> Iterator[FieldError]:
    """marshmallow's nested messages, one error at a time."""
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            yield from _flattened(inner, path if key == "_schema" else (*path, key))
    elif isinstance(messages, list):
        for message in messages:
            yield from _flattened(message, path)
    else:
        yield FieldError(path, str(messages))


def _summary(fields: list[FieldError]) -> str:
    first = fields[0]
    where = ".".join(str(part) for part in first.path)
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    return f"{where}: {first.message}{more}" if where else f"{first.message}{more}"
