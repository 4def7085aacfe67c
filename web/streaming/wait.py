"""Waiting for a run to end, woken by its thread's log.

A proxy ends a request that is silent for long, often for a minute. So an answer that is not
there after a heartbeat begins, with its status and headers, and has a space at each heartbeat
until it comes: JSON may begin with any number of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gevent
from flask import Response, request, stream_with_context

from runtime.errors import StreamUnavailable
from runtime.events import RUN_WAITING
from runtime.model import Run
from runtime.stream.entries import EMPTY
from web.core import Core
from web.http import gunicorn, problems
from web.http.disconnects import disconnected, on_disconnect
from web.security import auth

HEARTBEAT = b" "

_POLL_INTERVAL = 0.5
"""Seconds between reads of the database while Redis is away."""


def answer_when_ended(core: Core, run: Run, seconds: float, make: Callable[[Run], Response]) -> Response:
    """What ``make`` answers of the run once it has ended, or when ``seconds`` are over.

    It comes earlier where this process is to stop. It is counted among the user's streams:
    raises TooMany. An error after the first heartbeat comes as the body, a problem document
    with the ``status`` in it, since that of the response has been sent.
    """
    leave = core.open_streams.enter(auth.current_user().id)
    return answer_when(core, run, seconds, make, leave)


def answer_when(
    core: Core,
    run: Run,
    seconds: float,
    make: Callable[[Run], Response],
    leave: Callable[[], None],
    enough: Callable[[Run], bool] = lambda run: run.status.terminal,
) -> Response:
    """The same for a run that is ``enough`` by whatever measure. ``leave`` is called at its end."""
    try:
        connection = gunicorn.socket_of(request.environ)
        wait = _Wait(core, run, time.monotonic() + seconds, connection, enough)
        wait.follow(core.settings.stream.heartbeat)
        response = make(wait.run)
    except BaseException:
        leave()
        raise
    if not wait.goes_on():
        leave()
        return response
    body = stream_with_context(_body(wait, make))
    response = Response(body, response.status_code, mimetype="application/json")
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(leave)
    return response


@dataclass(slots=True)
class _Wait:
    """One client's wait for a run."""

    core: Core
    run: Run
    """As it was when it was last read."""
    until: float
    """When the time is over, on the monotonic clock."""
    connection: Any
    """The client's socket; None under another server."""
    enough: Callable[[Run], bool]
    """Whether the run is what is waited for; one that has ended always is."""

    def goes_on(self) -> bool:
        """Whether the run is not there yet, and there is time to wait for it and somebody who waits."""
        return (
            not self.enough(self.run)
            and time.monotonic() < self.until
            and not self.core.stopping
            and not disconnected(self.connection)
        )

    def follow(self, seconds: float) -> None:
        """Wait for so long at most, and read the run again."""
        until = min(self.until, time.monotonic() + seconds)
        while self.goes_on() and time.monotonic() < until:
            try:
                self._watch(until)
            except StreamUnavailable:
                gevent.sleep(min(_POLL_INTERVAL, max(0.0, until - time.monotonic())))
                self._reload()

    def _watch(self, until: float) -> None:
        """Follow the run until its stream ends, the time is over or the client leaves."""
        with closing(self.core.hub.follow(self.run.thread_id, None, self.run.id)) as follower:
            self._reload()  # it may have ended before it was followed
            with (
                on_disconnect(self.connection, follower.end),
                gevent.Timeout(max(0.001, until - time.monotonic()), False),  # type: ignore[arg-type]
            ):
                while not self.enough(self.run):
                    batch = next(follower, EMPTY)
                    if batch is None or any(record.type == RUN_WAITING for record in batch.records):
                        self._reload()
                    elif batch is EMPTY:
                        break
        self._reload()

    def _reload(self) -> None:
        """Raises NotFound where its thread has been deleted."""
        self.run = self.core.database.engine.get_run(self.run.workspace_id, self.run.id)


def _body(wait: _Wait, make: Callable[[Run], Response]) -> Iterator[bytes]:
    try:
        while wait.goes_on():
            yield HEARTBEAT
            wait.follow(wait.core.settings.stream.heartbeat)
        if not disconnected(wait.connection):
            yield make(wait.run).get_data()
    except Exception as error:
        yield problems.answer(error).get_data()
