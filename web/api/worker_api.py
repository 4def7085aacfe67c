"""The Worker API over HTTP: what a child does on stdin and stdout, for workers anywhere.

Whoever shows a run token speaks for one attempt of one run, and sees nothing else.
What it sends waits in an inbox for the run's executor, which treats it like a
line on stdout.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gevent
import orjson
from flask import Response, g, request
from gevent.queue import Queue
from marshmallow import fields

from runtime.errors import (
    FieldError,
    Invalid,
    NotFound,
    StaleAttempt,
    StreamUnavailable,
    TooMany,
    Unauthenticated,
)
from runtime.model import Json, Run
from runtime.store import runs, states
from runtime.store.page import no_cursor
from runtime.stream import Batch, Record, Signal
from runtime.stream.hints import RELOAD
from runtime.tokens import read_run_cursor, read_run_token, run_cursor
from web.api.openapi import Blueprint
from web.api.schemas import kinds, outputs, queries
from web.core import Core, core, this_core
from web.http.gunicorn import BODY_ERRORS, body_as_it_comes
from web.http.parsing import load_json, read_body
from web.http.responses import answer
from web.streaming.sse import DOCUMENTED, SILENCE, send

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

worker_api = Blueprint(
    "worker", __name__, url_prefix="/worker/runs/<id:run_id>", security=("run",), description="For workers"
)

MAX_LINE = 16 << 20
"""Bytes of one line; the run ends long before, with `output_too_large`."""
BATCH_LINES = 500
BATCH_BYTES = 1 << 20
PATIENCE = 10.0
"""Seconds that a full inbox is waited for."""
_TRY_AGAIN = 0.02
_PIECES = 64
"""Pieces of a body that are held while others are pushed."""

_RunForWorker = outputs.wrapped("RunForWorker", run=outputs.Run, answers=fields.List(kinds.Object()))
_Taken = outputs.wrapped("Taken", accepted=fields.Integer(metadata={"description": "events taken"}))
_EVENTS = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
            "application/x-ndjson": {"schema": {"type": "string"}},
        },
    }
}


@worker_api.before_request
def run_token_required() -> None:
    """Find out which run asks. Raises Unauthenticated once its attempt has ended."""
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    told = read_run_token(core.settings, text.strip()) if scheme.lower() == "bearer" else None
    run = core.database.read(runs.of_token, *told) if told else None
    if run is None:
        raise Unauthenticated("The run token is not valid, or its attempt has ended.")
    if run.id != (request.view_args or {})["run_id"]:
        raise NotFound("The token is for another run.")
    g.run = run


@worker_api.route("")
@worker_api.response(200, _RunForWorker)
def get_own_run(run_id: str) -> Response:
    """The run, and the answers it was given."""
    run: Run = g.run
    return answer({"run": run.encode(), "answers": [dict(given) for given in run.answers]})


@worker_api.route("/messages")
@worker_api.arguments(queries.WorkerHistoryQuery, location="query")
@worker_api.response(200, outputs.page_of(outputs.Message))
def list_own_messages(given: dict[str, Any], run_id: str) -> Response:
    """The history up to the input state: its newest window, oldest message first."""
    run: Run = g.run
    limit = given["limit"] or min(_history_of(run.worker_id), queries.MAX_PAGE)
    # A cursor names a state; one that was made up would lead to another branch.
    cursor = given["cursor"] and read_run_cursor(core.settings, run.id, given["cursor"])
    if given["cursor"] and cursor is None:
        raise no_cursor()
    window = core.database.read(
        states.history, run.workspace_id, run.input_state_id, limit=limit, cursor=cursor
    )
    following = window.next and run_cursor(core.settings, run.id, window.next)
    return answer({"items": [message.encode() for message in window.items], "next": following})


@worker_api.route("/events", methods=["POST"])
@worker_api.doc(**_EVENTS)
@worker_api.response(202, _Taken)
def take_events(run_id: str) -> Response:
    """Events of the worker's protocol: one JSON array, or NDJSON that may go on while the worker works."""
    lines = _array() if request.is_json else _ndjson()
    taken = sum(_push(g.run, batch) for batch in lines)
    return answer({"accepted": taken}, 202)


@worker_api.route("/commands")
@worker_api.alt_response(200, **DOCUMENTED)
def commands(run_id: str) -> Response:
    """`cancel` when the run is to end; `end` when the attempt is over."""
    source = Commands(this_core(), g.run)
    return send(this_core(), source, lambda: True)


_CANCEL = Batch([Signal({"type": "cancel"})])
_END = Batch([Signal({"type": "end"})])


class Commands:
    """A source of the commands to one attempt (:class:`web.streaming.sse.Source`).

    The hints of the run's workspace say when to look; each heartbeat looks too.
    """

    def __init__(self, core: Core, run: Run) -> None:
        self._core = core
        self._run = run
        self._hints: Any = core.hub.hints(run.workspace_id)

    def __iter__(self) -> Iterator[Batch | None]:
        cancel_sent = False
        while True:
            run = self._core.database.read(runs.of_token, self._run.id, self._run.attempt)
            if run is None:
                yield _END
                return
            if run.cancel_requested_at is not None and not cancel_sent:
                cancel_sent = True
                yield _CANCEL
            for hints in self._hints:
                if hints is SILENCE:
                    yield SILENCE
                    break
                if any(self._concerns(hint) for hint in hints.records):
                    break
            else:
                return

    def _concerns(self, hint: Record) -> bool:
        """Whether the run may have changed."""
        return hint is RELOAD or hint.fields.get("run_id") == self._run.id

    def close(self) -> None:
        """Leave the hub."""
        self._hints.close()


def _history_of(worker_id: str) -> int:
    worker = core.registry.workers.get(worker_id)
    return (worker.history if worker else None) or core.settings.run.history


def _array() -> Iterator[list[bytes]]:
    given = load_json(read_body(request))
    if not isinstance(given, list):
        raise Invalid("The body is not valid: it must be a JSON array of events.")
    for index, event in enumerate(given):
        _check(index, event)
    for start in range(0, len(given), BATCH_LINES):
        yield [orjson.dumps(event) for event in given[start : start + BATCH_LINES]]


def _ndjson() -> Iterator[list[bytes]]:
    """The lines of the body as they come; those that come during a push go together."""
    request.max_content_length = sys.maxsize
    arriving: Queue[bytes | None] = Queue(_PIECES)
    reader = gevent.spawn(_read, request.environ, request.stream, arriving)
    index = 0
    try:
        for lines in _lines(arriving):
            for place, line in enumerate(lines, index):
                _check(place, _parsed(place, line))
            index += len(lines)
            yield lines
    finally:
        reader.kill(block=False)


def _lines(arriving: Queue[bytes | None]) -> Iterator[list[bytes]]:
    buffer = bytearray()
    ended = False
    while not ended:
        piece = arriving.get()
        while piece is not None:
            buffer += piece
            if len(buffer) > BATCH_BYTES or arriving.empty():
                break
            piece = arriving.get()
        ended = piece is None
        end = len(buffer) if ended else buffer.rfind(b"\n") + 1
        lines = [line for line in bytes(buffer[:end]).split(b"\n") if line.strip()]
        del buffer[:end]
        if len(buffer) > MAX_LINE:
            raise Invalid(f"A line is longer than {MAX_LINE} bytes.")
        for start in range(0, len(lines), BATCH_LINES):
            yield lines[start : start + BATCH_LINES]


def _read(environ: WSGIEnvironment, body: Any, arriving: Queue[bytes | None]) -> None:
    try:
        for piece in body_as_it_comes(environ, body):
            arriving.put(piece)
    except BODY_ERRORS:
        pass  # the worker has gone away; what it has sent counts
    finally:
        arriving.put(None)


def _parsed(index: int, line: bytes) -> Json:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise Invalid(
            f"Line {index + 1} is not valid JSON: {error}", [FieldError((index,), str(error))]
        ) from error


def _check(index: int, event: Json) -> None:
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        said = "must be a JSON object with a `type`"
        raise Invalid(f"Event {index + 1} {said}.", [FieldError((index,), said)])


def _push(run: Run, batch: list[bytes]) -> int:
    """Leave events for the executor; how many. Raises TooMany where the inbox stays full."""
    until = time.monotonic() + PATIENCE
    try:
        while not core.inbox.push(run.thread_id, run.id, run.attempt, batch):
            if time.monotonic() > until:
                raise TooMany("The run takes its events more slowly than they come; go on later.")
            gevent.sleep(_TRY_AGAIN)
    except StaleAttempt as error:
        raise Unauthenticated("The attempt has ended; nothing more of it is taken.") from error
    _tell_pool(run)
    return len(batch)


def _tell_pool(run: Run) -> None:
    try:
        core.notices.to_pool(run.claimed_by or "", {"type": "inbox", "run_id": run.id})
    except StreamUnavailable:
        pass  # when the pool reaches Redis again, it looks into every inbox
