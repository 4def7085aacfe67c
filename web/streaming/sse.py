"""Server-Sent Events, on flask-sse.

Everything of flask-sse is replaced that would lose text or events: data is always
one line of JSON, silence is broken by heartbeats, one connection to Redis serves
all streams, and nobody reads what is not theirs. A stream holds a position in the
event log, and no connection to the database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import flask_sse
from flask import Response

from runtime.errors import StoreUnavailable, StreamUnavailable, TooMany
from runtime.stream import Batch, Record
from web.api.openapi import Blueprint
from web.core import Core, core, this_core
from web.security import auth
from web.streaming.open_streams import OpenStreams
from web.streaming.socket_writer import SocketWriter

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

HEARTBEAT = b": hb\n\n"
SILENCE = None
"""What a source yields when there was nothing for the time of a heartbeat."""

EVENT_STREAM = "text/event-stream"
DOCUMENTED = {"content_type": EVENT_STREAM, "description": "Server-Sent Events", "success": True}
"""How the OpenAPI document describes a stream."""


def encode_sse(record: Record) -> bytes:
    """One record as Server-Sent Events want it (HTML Living Standard, section 9.2).

    Its data is one line of JSON, in which no raw line break can occur.
    """
    event_id, type = record.id, record.type.encode()
    if event_id is None:
        return b"event: %b\ndata: %b\n\n" % (type, record.data)
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event_id.encode(), type, record.data)


class Source(Protocol):
    """What a stream sends: batches, or SILENCE."""

    def __iter__(self) -> Iterator[Batch | None]: ...

    def close(self) -> None:
        """Nobody reads any more; also called where nobody began."""


class EventStreams(Blueprint, flask_sse.ServerSentEventsBlueprint):  # type: ignore[misc]
    """flask-sse's blueprint over the hub."""

    @property
    def redis(self) -> Any:
        """This process's bounded connections, where flask-sse makes a new one for each call."""
        return core.link.client

    def publish(
        self,
        data: Any,
        type: str | None = None,
        id: str | None = None,
        retry: int | None = None,
        channel: str = "",
    ) -> None:
        """Send a hint to the workspace ``channel``; events are published by appending to a log."""
        core.notices.to_workspace(channel, {**data, "type": type})

    def messages(self, channel: str = "") -> Any:
        """The hints of the workspace ``channel``, as a source."""
        return core.hub.hints(channel)

    def stream(
        self, source: Source | None = None, writer: SocketWriter | None = None, places: int = 1
    ) -> Response:
        """Send ``source``, or the hints of the user's workspace, while the user may read.

        ``writer`` is the one that the source uses, if it uses one. ``places``: how many streams
        it counts as. Raises TooMany, having closed the source.
        """
        user, credential, this = auth.current_user(), auth.current_credential(), this_core()
        leave = _enter(this.open_streams, user.id, places, source)
        if source is None:
            source = self.messages(user.workspace_id)
        response = send(this, source, lambda: this.credentials.resolve(credential) is not None, writer)
        response.call_on_close(leave)
        return response


def _enter(open_streams: OpenStreams, user_id: str, places: int, source: Source | None) -> Callable[[], None]:
    try:
        return open_streams.enter(user_id, places)
    except TooMany:
        if source is not None:
            source.close()
        raise


class Nothing:
    """An empty source: the reader connects again, whereas an error would make an EventSource give up."""

    def __iter__(self) -> Iterator[Batch | None]:
        return iter(())

    def close(self) -> None:
        """There is nothing to leave."""


class Stream(Response):
    """A response that tells its writer where it goes to."""

    writer: SocketWriter

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, as WSGI has it."""
        body = super().__call__(environ, start_response)
        self.writer.connect(environ, start_response)
        return body


def send(
    core: Core, source: Source, may_read: Callable[[], bool], writer: SocketWriter | None = None
) -> Response:
    """A stream of ``source``; at each heartbeat ``may_read`` is asked whether it goes on."""
    writer = writer or SocketWriter(core.metrics, encode_sse)
    response = Stream(_lines(core, source, may_read, writer), mimetype=EVENT_STREAM)
    response.writer = writer
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(source.close)
    return response


def _lines(core: Core, source: Source, may_read: Callable[[], bool], writer: SocketWriter) -> Iterator[bytes]:
    yield b"retry: %d\n\n" % core.settings.stream.retry_ms
    heartbeat = core.settings.stream.heartbeat
    checked = time.monotonic()
    live = False
    try:
        for batch in source:
            if batch is not None:
                if live:
                    core.metrics.delivered(batch)
                # A reader that stops reading stops this generator at its yield. It is then to
                # hold the bytes that are being sent, and not the records they were made of.
                data, batch = batch.encoded(encode_sse), None
                yield data
            elif writer.gone():
                return
            else:
                yield HEARTBEAT
            live = True
            if time.monotonic() - checked >= heartbeat * 0.9:
                checked = time.monotonic()
                if not _may_still_read(may_read):
                    return
    except (StreamUnavailable, StoreUnavailable):
        return  # the reader connects again, perhaps to a process that can serve it
    finally:
        if core.stopping:
            writer.close_after_response()


def _may_still_read(may_read: Callable[[], bool]) -> bool:
    try:
        return may_read()
    except StoreUnavailable:
        return True  # asked again at the next heartbeat
