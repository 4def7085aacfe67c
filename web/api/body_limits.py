"""How large a request's body may be, for each route. More is answered with 413, and is not read.

Whoever may call a route, signed in or not, can make a web process hold that much for
each connection. So a route takes what it needs: the large ones are for messages, which
may hold pictures, and for imports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from flask import Flask, g, request

from web.core import core
from web.http.parsing import too_large
from web.security import auth

USUAL = 16 * 1024
"""Bytes, wherever the table says nothing: signing in, marks, names, and whatever needs no body at all."""
LARGE = 1 << 20
"""Bytes from which on a process takes only so many bodies at once, and of one user's only some."""
_OBJECTS = 1 << 20
"""Bytes of a thread's config and metadata, or of an answer to a worker's question."""
_DOCUMENT = (4 << 20) + 64 * 1024
"""Bytes of a document of the knowledge base, and of what is beside it."""
_SYSTEM = 256 * 1024
"""Bytes of the definition of a system: of 200 entities, each with schemas."""
_LARGEST = None
"""BRANCHLINE_WEB_MAX_BODY."""

_LIMITS: Mapping[str, int | None] = {
    "account.change_password": 2 * USUAL,
    "threads.create_thread": _OBJECTS,
    "threads.update_thread": _OBJECTS,
    "threads.import_thread": _LARGEST,
    "tree.add_state": _LARGEST,
    "thread runs.create_runs": _LARGEST,
    "runs.create_runs_on_new_thread": _LARGEST,
    "runs.answer_run": _OBJECTS,
    "queued messages.send_messages": _LARGEST,
    "sessions.create_session": _OBJECTS,
    "sessions.change_session": _OBJECTS,
    "sessions.send_to_session": _LARGEST,
    "agent chat.send_message": _OBJECTS,
    "knowledge.add_document": _DOCUMENT,
    "knowledge.begin_ingestion": 6 * USUAL,
    "systems.check_system": _SYSTEM,
    "systems.create_system": _SYSTEM,
    "systems.send_to_entity": _OBJECTS,
    "worker knowledge.add_document_of_run": _DOCUMENT,
    "worker.post_events": _LARGEST,
    "worker requests.ask_pool": _LARGEST,
}
"""By endpoint. ``worker.post_events`` takes NDJSON of any length: it is handled line by line."""
_OF_ARCHIVES = "threads.import_archive"
_OF_FILES = frozenset({"files.upload_file", "worker.make_file"})
"""What takes a file, which is never in memory as a whole: BRANCHLINE_FILES_MAX_SIZE."""
ARCHIVE = 1 << 30
"""Bytes of an export with its files."""
_BESIDE_FILE = 64 * 1024
"""Bytes that such a body may have beside the file."""


def init_app(app: Flask, largest: int, largest_file: int) -> None:
    """Refuse larger bodies before anything else is done. ``largest``: bytes that any other body may have."""
    app.config["MAX_CONTENT_LENGTH"] = largest
    app.config["MAX_FILE_SIZE"] = largest_file
    app.before_request(partial(_check, largest, largest_file))
    app.teardown_request(_leave_lane)


def limit(endpoint: str | None, largest: int, largest_file: int) -> int:
    """Bytes that a body for this endpoint may have; None is a path that no route has."""
    if endpoint == _OF_ARCHIVES:
        return ARCHIVE
    if endpoint in _OF_FILES:
        return largest_file + _BESIDE_FILE
    found = _LIMITS.get(endpoint or "", USUAL)
    return largest if found is None else min(found, largest)


def enter_lane() -> None:
    """For ``before_request`` of a blueprint, after authentication: hold a slot for a large body.

    It is held until the request has been handled, but for the stream that may answer it.
    Raises TooMany.
    """
    of_unknown_length = "Transfer-Encoding" in request.headers
    if of_unknown_length or (request.content_length or 0) > LARGE:
        g.large_body = core.large_bodies.hold(auth.current_user().id)
        try:
            g.large_body.__enter__()
        except BaseException:
            del g.large_body
            raise


def _leave_lane(error: BaseException | None) -> None:
    held = g.pop("large_body", None)
    if held is not None:
        held.__exit__(None, None, None)


def larger_than_usual() -> Iterator[str]:
    """The endpoints that take more than the usual."""
    return iter((*_LIMITS, *_OF_FILES, _OF_ARCHIVES))


def _check(largest: int, largest_file: int) -> None:
    allowed = limit(request.endpoint, largest, largest_file)
    request.max_content_length = allowed
    if (request.content_length or 0) > allowed and not _is_endless():
        raise too_large(allowed)


def _is_endless() -> bool:
    return request.endpoint == "worker.post_events" and not request.is_json
