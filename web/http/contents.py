"""The content of a file as a response: in ranges, from a cache, and harmless in a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import quote

from flask import Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.http import is_resource_modified

from runtime.errors import BranchlineError
from runtime.model import File

Read = Callable[[int, int], Iterator[bytes]]
"""Bytes of the content, from the first number to before the second, in pieces."""

_SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"})
"""Pictures that can hold no program: a browser may show them. All else is to be saved."""
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
_OPAQUE = "application/octet-stream"
_ACTIVE = ("html", "svg", "xml", "javascript")
"""In the types of what a browser might execute, were it told what it is."""


def content_response(file: File, read: Read) -> Response:
    """The content of ``file``, or the range of it that is asked for; 304 where the client has it, 416."""
    tag = f'"{file.id}"'  # the content behind an id never changes
    known = not is_resource_modified(request.environ, etag=tag)
    response = _answer(file, read, tag) if not known else Response(status=304)
    response.headers["ETag"] = tag
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Content-Security-Policy"] = _POLICY
    if not known:
        response.headers["Content-Disposition"] = _disposition(file)
    return response


def _answer(file: File, read: Read, tag: str) -> Response:
    asked = request.range if request.if_range.etag in (None, tag.strip('"')) else None
    if request.if_range.date is not None:
        asked = None
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        return _of_bytes(file, read, 0, file.size, 200)
    found = asked.range_for_length(file.size)
    if found is None:
        raise RequestedRangeNotSatisfiable(
            length=file.size,
            description=f"The file has {file.size} bytes, and the range begins behind them.",
        )
    start, end = found
    response = _of_bytes(file, read, start, end, 206)
    response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    return response


def _of_bytes(file: File, read: Read, start: int, end: int, status: int) -> Response:
    pieces = iter(()) if request.method == "HEAD" else read(start, end)
    response = Response(_ended_early(pieces), status, mimetype=_type(file), direct_passthrough=True)
    response.headers["Content-Type"] = _type(file)
    response.headers["Content-Length"] = str(end - start)
    return response


def _ended_early(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """An error in the middle ends the connection, and so the client has less than Content-Length says."""
    try:
        yield from pieces
    except BranchlineError as error:
        raise ConnectionAbortedError(str(error)) from error


def _type(file: File) -> str:
    if any(word in file.type for word in _ACTIVE):
        return _OPAQUE
    return f"{file.type}; charset=utf-8" if file.type.startswith("text/") else file.type


def _disposition(file: File) -> str:
    kind = "inline" if file.type in _SHOWN else "attachment"
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%;' else "_" for c in file.name)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(file.name, safe='')}"
