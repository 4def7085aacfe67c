"""Server-Sent Events, on flask-sse.

Everything of flask-sse is replaced that would lose text or events: data is always
one line of JSON, silence is broken by heartbeats, one connection to Redis serves
all streams, and nobody reads what is not theirs. A stream holds a place in the
event log, and no connection to the database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import flask_sse
import orjson
from flask import Response

from runtime.errors import StoreUnavailable, StreamUnavailable
from web.api.openapi import Blueprint
from web.core import Core, core, this_core
from web.security import auth
from web.streaming.socket_writer import Outlet

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

HEARTBEAT = b": hb\n\n"
SILENCE = None
"""What a source yields when there was nothing for the time of a heartbeat."""

EVENT_STREAM = "text/event-stream"
DOCUMENTED = {"content_type": EVENT_STREAM, "description": "Server-Sent Events", "success": True}
"""How the OpenAPI document describes a stream."""


class Source(Protocol):
    """What a stream sends: bytes, or SILENCE."""

    def __iter__(self) -> Iterator[bytes | None]: ...

    def close(self) -> None:
        """Nobody reads any more; also called where nobody began."""


class Message(flask_sse.Message):  # type: ignore[misc]
    """An event whose text arrives as it is, leading spaces and line breaks included."""

    def __str__(self) -> str:
        lines = [f"id: {self.id}"] if self.id else []
        lines += [f"event: {self.type}"] if self.type else []
        lines += [f"retry: {self.retry}"] if self.retry else []
        return "\n".join([*lines, f"data: {orjson.dumps(self.data).decode()}"]) + "\n\n"

    def __bytes__(self) -> bytes:
        return str(self).encode()


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

    def stream(self, source: Source | None = None, outlet: Outlet | None = None) -> Response:
        """Send ``source``, or the hints of the user's workspace, while the user may read.

        ``outlet`` is the one that the source uses, if it uses one.
        """
        if source is None:
            source = self.messages(auth.current_user().workspace_id)
        credential, this = auth.current_credential(), this_core()
        return send(this, source, lambda: this.credentials.resolve(credential) is not None, outlet)


class Nothing:
    """A source for a reader who is to connect again: an error would tell an EventSource to give up."""

    def __iter__(self) -> Iterator[bytes | None]:
        return iter(())

    def close(self) -> None:
        """There is nothing to leave."""


class Stream(Response):
    """An answer that opens its outlet."""

    outlet: Outlet

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, as WSGI has it."""
        body = super().__call__(environ, start_response)
        self.outlet.connect(environ, start_response)
        return body


def send(core: Core, source: Source, may_read: Callable[[], bool], outlet: Outlet | None = None) -> Response:
    """A stream of ``source``; at each heartbeat ``may_read`` is asked whether it goes on."""
    outlet = outlet or Outlet(core.metrics)
    response = Stream(_lines(core, source, may_read, outlet), mimetype=EVENT_STREAM)
    response.outlet = outlet
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(source.close)
    return response


def _lines(core: Core, source: Source, may_read: Callable[[], bool], outlet: Outlet) -> Iterator[bytes]:
    yield b"retry: %d\n\n" % core.settings.stream.retry_ms
    heartbeat = core.settings.stream.heartbeat
    looked = time.monotonic()
    live = False
    try:
        for data in source:
            if data is not SILENCE:
                if live:
                    core.metrics.delivered(data)
                yield data
            elif outlet.gone():
                return
            else:
                yield HEARTBEAT
            live = True
            if time.monotonic() - looked >= heartbeat * 0.9:
                looked = time.monotonic()
                if not _still(may_read):
                    return
    except (StreamUnavailable, StoreUnavailable):
        return  # the reader connects again, and finds somebody who can serve it
    finally:
        if core.stopping:
            outlet.send_elsewhere()


def _still(may_read: Callable[[], bool]) -> bool:
    try:
        return may_read()
    except StoreUnavailable:
        return True  # asked again at the next heartbeat
