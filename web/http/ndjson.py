"""NDJSON bodies: lines of JSON, read as they come, for as long as the client goes on sending."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gevent
from flask import Request
from gevent.queue import Queue

from runtime.errors import Invalid
from web.http.gunicorn import BODY_ERRORS, body_as_it_comes, expect_endless_body

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

MAX_LINE = 16 << 20
"""Bytes of one line."""
BATCH_LINES = 500
"""Lines that are returned together at most."""
BATCH_BYTES = 1 << 20
"""Bytes after which no more are waited for before lines are returned."""
_Piece = bytes | Exception | None
"""A piece of a body; or why there are no more: none are left, or what nobody expected."""
_QUEUED_PIECES = 64
"""Pieces of the body that are read ahead while the caller handles a batch."""


def read_batches(request: Request) -> Iterator[list[bytes]]:
    """The lines of the body in batches: those that arrive while the caller handles one come together.

    The body may be longer than other requests' may. A client that goes away ends it: the
    lines that it has sent count. Raises Invalid for a line that is too long.
    """
    request.max_content_length = sys.maxsize
    expect_endless_body(request.environ)
    arriving: Queue[_Piece] = Queue(_QUEUED_PIECES)
    reader = gevent.spawn(_read, request.environ, request.stream, arriving)
    try:
        yield from _batches(arriving)
    finally:
        reader.kill(block=False)


def _read(environ: WSGIEnvironment, body: Any, arriving: Queue[_Piece]) -> None:
    end: Exception | None = None
    try:
        for piece in body_as_it_comes(environ, body):
            arriving.put(piece)
    except BODY_ERRORS:
        pass  # the client has gone away
    except Exception as error:  # its lines would seem to have been all
        end = error
    arriving.put(end)


def _batches(arriving: Queue[_Piece]) -> Iterator[list[bytes]]:
    buffer = bytearray()
    ended = False
    while not ended:
        ended = _receive(arriving, buffer)
        end = len(buffer) if ended else buffer.rfind(b"\n") + 1
        lines = [line for line in bytes(buffer[:end]).split(b"\n") if line.strip()]
        del buffer[:end]
        if len(buffer) > MAX_LINE:
            raise Invalid(f"A line is longer than {MAX_LINE} bytes.")
        for start in range(0, len(lines), BATCH_LINES):
            yield lines[start : start + BATCH_LINES]


def _receive(arriving: Queue[_Piece], buffer: bytearray) -> bool:
    """Wait for a piece, and add it and what has arrived meanwhile; whether the body has ended.

    Raises what nobody expected of reading it.
    """
    piece = arriving.get()
    while piece is not None:
        if isinstance(piece, Exception):
            raise piece
        buffer += piece
        if len(buffer) > BATCH_BYTES or arriving.empty():
            return False
        piece = arriving.get()
    return True
