"""One file of a multipart body, taken off the connection piece by piece: it is never in memory as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flask import Request
from werkzeug.exceptions import BadRequest
from werkzeug.sansio.multipart import Data, Epilogue, File, MultipartDecoder, NeedData

from runtime.errors import FieldError, Invalid
from web.http.parsing import pieces

PART = "file"
"""The name of the part."""
FILE_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {PART: {"type": "string", "format": "binary"}},
                    "required": [PART],
                }
            }
        },
    }
}
"""How such a body is documented."""
_LARGEST_HEAD = 256 * 1024
"""Bytes that are kept while the head of a part has not ended; more than come at once."""
_MOST_PARTS = 20


def read_file(request: Request, write: Callable[[bytes | bytearray], object]) -> str:
    """Give the content of the part ``file`` to ``write``; the file's name. Other parts are left out.

    Raises Invalid where there is not exactly one, what :func:`parsing.pieces` raises, and BadRequest.
    """
    boundary = request.mimetype_params.get("boundary", "")
    if request.mimetype != "multipart/form-data" or not boundary:
        raise _missing("The body must be multipart/form-data, with the file as its part `file`.")
    name: str | None = None
    reading = False
    for event in _events(
        MultipartDecoder(boundary.encode(), _LARGEST_HEAD, max_parts=_MOST_PARTS), pieces(request)
    ):
        if isinstance(event, File) and event.name == PART:
            if name is not None:
                raise _missing("The body has more than one part `file`; send each file by itself.")
            name, reading = event.filename or "", True
        elif isinstance(event, Data):
            if reading:
                write(event.data)
                reading = event.more_data
        else:
            reading = False
    if name is None:
        raise _missing("The body has no part `file` with a file name.")
    return name


def _events(decoder: MultipartDecoder, body: Iterator[bytes]) -> Iterator[object]:
    try:
        for piece in body:
            decoder.receive_data(piece)
            while not isinstance(event := decoder.next_event(), NeedData):
                yield event
                if isinstance(event, Epilogue):
                    return
        decoder.receive_data(None)
        while not isinstance(event := decoder.next_event(), NeedData | Epilogue):
            yield event
    except ValueError as error:
        raise BadRequest("The body is not valid multipart/form-data, or has ended too early.") from error


def _missing(message: str) -> Invalid:
    return Invalid(message, [FieldError((PART,), message)])
