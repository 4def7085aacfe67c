"""Reading requests: JSON bodies and query parameters, checked by marshmallow.

A body is taken for JSON whatever its content type says. What no database could
keep (a NUL character, nesting without end) is refused here, for every call alike.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, NoReturn

import marshmallow as ma
import orjson
from flask import Request
from webargs import core as webargs
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from runtime.errors import FieldError, Invalid
from runtime.greenlets import ThreadPool
from runtime.model import Json
from web.http.errors import MOST_FIELDS, field_errors
from web.http.gunicorn import BODY_ERRORS

MAX_DEPTH = 64
"""How deep a body may nest."""
_LARGE = 256 * 1024
"""Bytes from which on a body is parsed in a thread: 10 MB of small values take more than a second."""

_threads = ThreadPool(1)


class Parser(FlaskParser):
    """webargs as this API uses it."""

    DEFAULT_UNKNOWN_BY_LOCATION = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "query": ma.EXCLUDE}

    def _raw_load_json(self, req: Request) -> Any:
        raw = read_body(req)
        return load_json(raw) if raw.strip() else webargs.missing

    def load_querystring(self, req: Request, schema: ma.Schema) -> Any:
        """The query parameters, without NUL characters."""
        for name, value in req.args.items(multi=True):
            if "\0" in value:
                raise Invalid("The query is not valid.", [FieldError((name,), _NUL)])
        return super().load_querystring(req, schema)

    def handle_error(
        self, error: ma.ValidationError, req: Request, schema: ma.Schema, **kwargs: Any
    ) -> NoReturn:
        """Raise Invalid with the path of every field that is wrong."""
        [(location, messages)] = error.messages_dict.items()
        fields = list(islice(field_errors(messages), MOST_FIELDS))
        what = "body" if location == "json" else location
        raise Invalid(f"The {what} is not valid: {_summary(fields)}", fields) from error


def read_body(request: Request, keep: bool = False) -> bytes:
    """The whole body. ``keep``: for whoever reads it next. Raises RequestEntityTooLarge, BadRequest."""
    try:
        raw = request.get_data(cache=keep)
    except BODY_ERRORS as error:
        raise BadRequest("The body ended too early, or is not what its headers say.") from error
    # Of a body that does not say its length, what is too much is cut off in silence.
    if request.content_length is None and len(raw) >= (request.max_content_length or len(raw) + 1):
        raise RequestEntityTooLarge
    return raw


def load_json(raw: bytes) -> Json:
    """The JSON in ``raw``. Raises BadRequest where it is malformed, Invalid where it cannot be kept."""
    return _threads.call(_load_json, raw) if len(raw) > _LARGE else _load_json(raw)


def _load_json(raw: bytes) -> Json:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not valid JSON: {error}") from error
    # Most bodies can have neither; only the others are walked through.
    suspect = b"\\u0000" in raw or raw.count(b"[") + raw.count(b"{") > MAX_DEPTH
    if suspect and not _keepable(value):
        fields = list(islice(_unkeepable(value, ()), MOST_FIELDS))
        raise Invalid(f"The body is not valid: {_summary(fields)}", fields)
    return value


_NUL = "may not contain the NUL character"


def _keepable(value: Json) -> bool:
    """Whether :func:`_unkeepable` finds nothing. Level by level: a body may hold millions of values."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Json] = []
        for one in level:
            if isinstance(one, str):
                if "\0" in one:
                    return False
            elif isinstance(one, list):
                below += one
            elif isinstance(one, dict):
                if any("\0" in key for key in one):
                    return False
                below += one.values()
        if not below:
            return True
        level = below
    return False


def _unkeepable(value: Json, path: tuple[str | int, ...]) -> Any:
    if len(path) > MAX_DEPTH:
        yield FieldError(path[:8], f"nests deeper than {MAX_DEPTH} levels")
    elif isinstance(value, str):
        if "\0" in value:
            yield FieldError(path, _NUL)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unkeepable(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            if "\0" in key:
                yield FieldError(path, f"has a name that {_NUL}")
            else:
                yield from _unkeepable(item, (*path, key))


def _summary(fields: list[FieldError]) -> str:
    first = fields[0]
    where = ".".join(str(part) for part in first.path)
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    return f"{where}: {first.message}{more}" if where else f"{first.message}{more}"
