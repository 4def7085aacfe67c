"""What an error means over HTTP: its status, its code, and what the client is told.

Views raise the errors of :mod:`runtime.errors`; nobody else spells the status of a
failure. :func:`describe` says what each means, and each protocol renders that in its
own format: :mod:`web.http.problems` for the Thread API and the Worker API. It is
here and not in :mod:`runtime.errors` because statuses are HTTP's, and because
Flask's own errors need describing too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from werkzeug.exceptions import HTTPException

from runtime import errors
from runtime.errors import FieldError

_STATUS: Mapping[type[Exception], tuple[int, str]] = {
    errors.Unauthenticated: (401, "Not signed in"),
    errors.Forbidden: (403, "Forbidden"),
    errors.Misdirected: (421, "Misdirected request"),
    errors.NotFound: (404, "Not found"),
    errors.SessionExpired: (404, "Session expired"),
    errors.SessionFull: (409, "Session full"),
    errors.Conflict: (409, "Conflict"),
    errors.FileTooLarge: (413, "File too large"),
    errors.FileRefused: (422, "File not accepted"),
    errors.QuotaExceeded: (422, "Quota exceeded"),
    errors.LinesMissing: (409, "Lines are missing"),
    errors.SearchTooLong: (422, "Search took too long"),
    errors.UnknownWorker: (422, "Unknown worker"),
    errors.WorkerUnavailable: (422, "Worker not available"),
    errors.Invalid: (422, "Invalid input"),
    errors.TooMany: (429, "Too many requests"),
    errors.StoreUnavailable: (503, "Database not available"),
    errors.StreamUnavailable: (503, "Redis not available"),
    errors.FilesUnavailable: (503, "Files not available"),
    errors.EmbeddingsUnavailable: (503, "Embeddings not available"),
    errors.PoolSilent: (503, "Pool does not answer"),
    errors.WorkerElsewhere: (503, "Worker not here yet"),
    errors.Unavailable: (503, "Not available"),
}

_DETAIL = {404: "There is nothing at this address."}

_AWAY = (errors.StoreUnavailable, errors.StreamUnavailable, errors.BrokerUnavailable)

_OF_THE_BODY = ("Content-Type", "Content-Length")
"""Headers that describe werkzeug's own body, which is not sent."""


@dataclass(frozen=True, slots=True)
class ErrorDescription:
    """One error, in terms that every protocol has some way to say."""

    status: int
    """The HTTP status."""
    code: str
    """A stable name for programs, in lower case with hyphens: ``not-found``."""
    title: str
    """The kind of error, the same each time."""
    detail: str
    """What went wrong this time, and how to mend it."""
    fields: tuple[FieldError, ...] = ()
    """The fields of the input that are wrong."""
    retry_after: int | None = None
    """Seconds after which another attempt makes sense."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """HTTP headers that go with the status, such as ``Allow``."""


def describe(error: Exception) -> ErrorDescription:
    """What ``error`` means. An error that nobody foresaw is a fault of Branchline: 500."""
    if isinstance(error, HTTPException):
        return _of_werkzeug(error)
    known = next((kind for kind in type(error).__mro__ if kind in _STATUS), None)
    if known is None:
        return ErrorDescription(
            500, "internal-error", "Internal error", "This is a fault of Branchline. Its log says more."
        )
    status, title = _STATUS[known]
    return ErrorDescription(
        status,
        _hyphenated(known.__name__),
        title,
        _text(error),
        fields=error.errors if isinstance(error, errors.Invalid) else (),
        retry_after=error.retry_after if isinstance(error, errors.TooMany | errors.Unavailable) else None,
        headers={"WWW-Authenticate": 'Bearer realm="branchline"'} if status == 401 else {},
    )


def _text(error: Exception) -> str:
    """What the client is told.

    Of what is away only that it is: whoever asks may not be signed in, and what a driver
    says names hosts, users and sometimes a part of a password.
    """
    kind = next((kind for kind in _AWAY if isinstance(error, kind)), None)
    return (kind.__doc__ or "") if kind else str(error)


def describe_status(status: int, reason: str, detail: str = "") -> ErrorDescription:
    """An error that is known by its HTTP status and reason phrase only."""
    return ErrorDescription(status, _hyphenated(reason), reason, detail or reason)


def _of_werkzeug(error: HTTPException) -> ErrorDescription:
    """What Flask and werkzeug raise themselves: no such route, wrong method, body too large, ..."""
    status = error.code or 500
    detail = _DETAIL.get(status) or error.description or error.name
    headers = {name: value for name, value in error.get_headers() if name not in _OF_THE_BODY}
    return ErrorDescription(status, _hyphenated(error.name), error.name, detail, headers=headers)


def _hyphenated(name: str) -> str:
    """``NotFound`` and ``Not Found`` as ``not-found``."""
    return re.sub(r"(?<=[a-z])[ -]?(?=[A-Z])|\W+", "-", name).lower().strip("-")
