"""Events that a worker sends over HTTP: read from the request, checked, left for the run's executor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import gevent
import orjson
from flask import Request

from runtime.errors import FieldError, Invalid, StaleAttempt, StreamUnavailable, TooMany, Unauthenticated
from runtime.model import Json, Run
from runtime.sdk.protocol import decode_line
from runtime.stream import Inbox, Notices
from web.http import ndjson
from web.http.parsing import load_json, read_body

T = TypeVar("T")

INBOX_PATIENCE = 10.0
"""Seconds to wait for a full inbox to have room."""
_RETRY_INTERVAL = 0.02


def read_events(request: Request) -> Iterator[list[bytes]]:
    """The events in the body, a JSON array or NDJSON, in batches. Raises Invalid, BadRequest."""
    return _from_array(request) if request.is_json else _from_ndjson(request)


def push(inbox: Inbox, notices: Notices, run: Run, batch: list[bytes], first: int | None = None) -> int:
    """Append events to the run's inbox; how many. ``first``: the number of the first, if they have any.

    Raises TooMany if the inbox stays full, Unauthenticated if the attempt has ended, LinesMissing
    where events before these have not come.
    """
    _until_there_is_room(lambda: inbox.push(run.thread_id, run.id, run.attempt, batch, first))
    wake_pool(notices, run)
    return len(batch)


def ask(inbox: Inbox, notices: Notices, run: Run, line: bytes) -> str:
    """Append a line that is to be answered; the token for its answer. Raises TooMany, Unauthenticated."""
    token = _until_there_is_room(lambda: inbox.ask(run.thread_id, run.id, run.attempt, line))
    wake_pool(notices, run)
    return token


def wake_pool(notices: Notices, run: Run) -> None:
    """Tell the pool that something waits for it."""
    try:
        notices.to_pool(run.claimed_by or "", {"type": "inbox", "run_id": run.id})
    except StreamUnavailable:
        pass  # when the pool reaches Redis again, it looks into every inbox


def _until_there_is_room(append: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + INBOX_PATIENCE
    try:
        while not (appended := append()):
            if time.monotonic() > deadline:
                raise TooMany("Events arrive faster than the run handles them. Send the rest later.")
            gevent.sleep(_RETRY_INTERVAL)
    except StaleAttempt as error:
        raise Unauthenticated("The attempt has ended. No more of its events are accepted.") from error
    return appended


def _from_array(request: Request) -> Iterator[list[bytes]]:
    events = load_json(read_body(request))
    if not isinstance(events, list):
        raise Invalid("The body is not valid: it must be a JSON array of events.")
    for index, event in enumerate(events):
        _check(index, event)
    for start in range(0, len(events), ndjson.BATCH_LINES):
        yield [orjson.dumps(event) for event in events[start : start + ndjson.BATCH_LINES]]


def _from_ndjson(request: Request) -> Iterator[list[bytes]]:
    first = 0
    for lines in ndjson.read_batches(request):
        for index, line in enumerate(lines, first):
            _check(index, _parsed(index, line))
        first += len(lines)
        yield lines


def _parsed(index: int, line: bytes) -> Json:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if (event := decode_line(line)) is not None:
            return event  # half of a surrogate pair, which the pool puts together
        raise Invalid(
            f"Line {index + 1} is not valid JSON: {error}", [FieldError((index,), str(error))]
        ) from error


def _check(index: int, event: Json) -> None:
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        problem = "must be a JSON object with a `type`"
        raise Invalid(f"Event {index + 1} {problem}.", [FieldError((index,), problem)])
