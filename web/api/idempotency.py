"""The header by which a client names its request, so that it is carried out once."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import orjson
from flask import request

from runtime.dispatch import IdempotencyKey
from runtime.errors import FieldError, Invalid
from web.security import auth

_HEADER = "Idempotency-Key"
_MAX = 255
_KEY = re.compile(
    "^[!-~\u00a1-\u00ac\u00ae-\u00ff]([ -~\u00a1-\u00ac\u00ae-\u00ff]*[!-~\u00a1-\u00ac\u00ae-\u00ff])?$"
)
"""Printable characters of Latin-1, which is what a header has; spaces at its ends are not part of it."""

PARAMETER = {
    "in": "header",
    "name": _HEADER,
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": _MAX, "pattern": _KEY.pattern},
    "description": "A name for this request. Sent again, it is answered with the first response.",
}
"""For the OpenAPI document."""


def key_of(given: dict[str, Any]) -> IdempotencyKey | None:
    """The key of this request, whose body is ``given``. Raises Invalid."""
    key = request.headers.get(_HEADER)
    if key is None:
        return None
    if not 1 <= len(key) <= _MAX or not _KEY.fullmatch(key):
        problem = f"must have 1 to {_MAX} printable characters"
        raise Invalid(f"{_HEADER}: {problem}", [FieldError((_HEADER,), problem)])
    body = orjson.dumps([request.path, given], option=orjson.OPT_SORT_KEYS)
    grant = auth.current_credential().grant
    if grant is not None:  # its keys are no keys of its user, who would find them used
        key = hashlib.sha256(f"{grant.holder} {key}".encode()).hexdigest()
    return IdempotencyKey(key, hashlib.sha256(body).hexdigest())
