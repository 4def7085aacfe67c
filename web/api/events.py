"""The streams: of a thread, of a run, and of all that is yours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Response, request

from runtime.errors import Conflict
from runtime.events import Cursor
from runtime.model import Run
from runtime.stream import Batch, reset_signal
from web.api.schemas import queries
from web.core import core, this_core
from web.http.responses import no_content
from web.security import auth
from web.streaming.run_stream import RunStream
from web.streaming.socket_writer import SocketWriter
from web.streaming.sse import DOCUMENTED, EventStreams, Nothing, encode_sse
from web.streaming.user_stream import UserStream

streams = EventStreams("events", __name__, url_prefix="/api", description="Server-Sent Events")
streams.before_request(auth.sign_in_required)


@streams.before_request
def end_at_once() -> Response | None:
    """A process that is stopping ends a new stream at once, so that the client connects to another."""
    return streams.stream(Nothing()) if core.stopping else None


@streams.route("/events")
@streams.arguments(queries.UserStreamQuery, location="query")
@streams.alt_response(200, **DOCUMENTED)
def user_events(given: dict[str, Any]) -> Response:
    """Hints that something in your lists has changed, and the events of several threads.

    Hints have no ids, and are not sent again: read your lists after connecting. With `threads`
    one connection carries what would need a stream for each of them. A thread that cannot be
    continued from its cursor gets `reset` (`not_found`: it is not there or not yours), and the
    others go on.
    """
    user = auth.current_user()
    if given["user"] not in (None, user.id):
        raise Conflict("Another user is signed in.")
    writer = SocketWriter(core.metrics, encode_sse)
    source = UserStream(this_core(), user.workspace_id, given["threads"] or {}, writer)
    return streams.stream(source, writer, source.logs + 1)


_LAST_EVENT_ID = {
    "in": "header",
    "name": "Last-Event-ID",
    "required": False,
    "schema": {"type": "string"},
    "description": "The id of the last event that was seen, as an EventSource sends it; beats `after`.",
}


@streams.route("/threads/<id:thread_id>/events", parameters=[_LAST_EVENT_ID])
@streams.arguments(queries.StreamQuery, location="query")
@streams.alt_response(200, **DOCUMENTED)
def thread_events(given: dict[str, Any], thread_id: str) -> Response:
    """Everything that happens on a thread, from now on or from a cursor.

    If it cannot continue from the cursor it sends `reset` and ends. Read the snapshot
    then, and continue from its cursor.
    """
    core.database.engine.get_thread(auth.current_user().workspace_id, thread_id)
    shown = _shown(given)
    cursor = core.log.oldest(thread_id) if shown == "0" else Cursor.decode(shown or "")
    if shown is not None and cursor is None:
        return streams.stream(_OnlyReset(thread_id, "malformed"))
    writer = SocketWriter(core.metrics, encode_sse)
    return streams.stream(core.hub.follow(thread_id, cursor, writer=writer), writer)


@streams.route("/runs/<id:run_id>/events", parameters=[_LAST_EVENT_ID])
@streams.arguments(queries.StreamQuery, location="query")
@streams.alt_response(200, **DOCUMENTED)
@streams.alt_response(204, description="The run has ended, and you have seen all of it", success=True)
def run_events(given: dict[str, Any], run_id: str) -> Response:
    """Everything that happens in a run, from its beginning or from a cursor, to its end."""
    run = core.database.engine.get_run(auth.current_user().workspace_id, run_id)
    return stream_run(run, _shown(given)) or no_content()


def stream_run(run: Run, shown: str | None = None) -> Response | None:
    """The stream of a run after the event id ``shown``; None where it has ended and all was seen.

    Raises StreamUnavailable if that depends on Redis, and Redis is away.
    """
    writer = SocketWriter(core.metrics, encode_sse)
    source = RunStream(this_core(), run, writer)
    return streams.stream(source, writer) if source.open(shown) else None


class _OnlyReset:
    """A source for a reader whose cursor means nothing."""

    def __init__(self, thread_id: str, reason: str) -> None:
        self._reset = Batch([reset_signal(thread_id, reason)])

    def __iter__(self) -> Iterator[Batch | None]:
        yield self._reset

    def close(self) -> None:
        """There is nothing to leave."""


def _shown(given: dict[str, Any]) -> str | None:
    """The id of the event that the client has seen last; the header beats the query."""
    shown: str | None = request.headers.get("Last-Event-ID") or given["after"]
    return shown
