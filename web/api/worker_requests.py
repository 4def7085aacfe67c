"""What a worker asks for over HTTP, and gets in the response: saving, its inbox, other workers.

The pool process that executes the run is the only one that writes, so it is asked: the line goes the
way of all that a worker sends, and what the pool answers is the response. What becomes of a sub-run
is read from the database.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import gevent
import orjson
from flask import Response, g, request

from runtime.dispatch import call_lines
from runtime.errors import (
    Conflict,
    FieldError,
    Invalid,
    NotFound,
    PoolSilent,
    Unauthenticated,
)
from runtime.model import Json, MessageType, Role, Run, RunStatus
from runtime.sdk.protocol import Call, ProtocolError, ReadInbox, Save, fields
from runtime.store import calls, files, runs, usage
from web.api.openapi import Blueprint
from web.api.schemas import queries
from web.api.worker_api import run_token_required
from web.api.worker_events import ask, wake_pool
from web.core import core, this_core
from web.http.parsing import load_json, read_body
from web.http.responses import json_response
from web.streaming.run_stream import RunStream
from web.streaming.socket_writer import SocketWriter
from web.streaming.sse import DOCUMENTED, encode_sse, send
from web.streaming.wait import answer_when

views = Blueprint(
    "worker requests",
    __name__,
    url_prefix="/worker/runs/<id:run_id>",
    security=("run",),
    description="For workers: what is answered",
)
views.before_request(run_token_required)

PATIENCE = 15.0
"""Seconds in which a pool answers."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.1
"""Seconds between two looks whether there is an answer; doubled each time."""
_WAKE_AGAIN = 1.0
"""Seconds after which the pool is told once more that something waits: what it was told may be lost."""
_ANSWERED = (Save, ReadInbox, Call)
_NEEDED = ("key", "value", "id", "worker_id")

_LINE = {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]}
_KEY = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[^\\u0000]*$"}
_OPTIONAL = {"type": ["string", "null"], "minLength": 1, "maxLength": 200, "pattern": "^[^\\u0000]*$"}
_MESSAGE = {
    "type": "object",
    "properties": {
        "role": {"type": "string", "enum": list(Role)},
        "content": {"type": "string", "pattern": "^[^\\u0000]*$"},
    },
    "required": ["content"],
    "additionalProperties": False,
}


def _line(type: str, needed: dict[str, Json], optional: dict[str, Json]) -> dict[str, Json]:
    return {
        "type": "object",
        "properties": {"type": {"type": "string", "enum": [type]}, **needed, **optional},
        "required": ["type", *needed],
        "additionalProperties": False,
    }


_ASKED = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "oneOf": [
                        _line("save", {"key": _KEY, "value": {}}, {"digest": _OPTIONAL}),
                        _line(
                            "inbox",
                            {"number": {"type": "integer", "minimum": 1}},
                            {"earlier": {"type": "boolean"}},
                        ),
                        _line(
                            "call",
                            {"id": _KEY, "worker_id": _KEY},
                            {
                                "messages": {"type": "array", "items": _MESSAGE, "maxItems": 1000},
                                "config": {"type": ["object", "null"]},
                                "args": {},
                            },
                        ),
                    ]
                }
            }
        },
    }
}


@views.route("/requests", methods=["POST"])
@views.doc(**_ASKED)
@views.response(200, _LINE)
def ask_pool(run_id: str) -> Response:
    """Ask for something, by a line of the protocol: `save`, `inbox` or `call`. The answer is one, too.

    It is committed when it is answered. 409 where it is refused, and 503 where no pool answers in
    time: ask again then. What was asked counts once: a `save` by its key, a `call` by its id, and
    an `inbox` by its `number`, which says the how manieth look into the inbox it is.
    """
    answer = _answer_to(orjson.dumps(_checked(load_json(read_body(request)))))
    if answer.get("type") == "refused":
        raise Conflict(f"It is refused: {answer['message']}.")
    return json_response(answer)


@views.route("/calls/<id:sub_run_id>")
@views.arguments(queries.WaitQuery, location="query")
@views.response(200, _LINE)
def wait_for_call(given: dict[str, Any], run_id: str, sub_run_id: str) -> Response:
    """What has become of a sub-run, by the `run_id` with which the call was answered.

    `result` once it has ended; `question` once it asks its user something; and `called` where the
    time is over before. `questions` are those that it has asked before. A longer answer begins as
    that of `wait` of a run does.
    """
    run = _sub_run(g.run, sub_run_id)
    leave = core.open_commands.enter(run_id)
    told = partial(_told, g.run.thread_id)
    return answer_when(this_core(), run, given["timeout"], told, leave, _news_of)


@views.route("/calls/<id:sub_run_id>/events")
@views.alt_response(200, **DOCUMENTED)
def call_events(run_id: str, sub_run_id: str) -> Response:
    """Everything that happens in a sub-run, from its beginning to its end."""
    run = _sub_run(g.run, sub_run_id)
    leave = core.open_commands.enter(run_id)
    try:
        writer = SocketWriter(core.metrics, encode_sse)
        source = RunStream(this_core(), run, writer)
        source.open(None)
        this, own = this_core(), g.run
        still_runs = partial(this.database.read, runs.of_token, own.id, own.attempt)
        response = send(this, source, lambda: still_runs() is not None, writer)
    except BaseException:
        leave()
        raise
    response.call_on_close(leave)
    return response


def _checked(line: Json) -> dict[str, Json]:
    """A line that a pool answers. Raises Invalid."""
    if not isinstance(line, dict):
        raise Invalid("The body is not valid: it must be a JSON object.")
    try:
        event = fields.decode(line)
    except ProtocolError as error:
        raise _invalid(line, str(error)) from error
    if not isinstance(event, _ANSWERED):
        raise _invalid(line, "must be save, inbox or call")
    if isinstance(event, ReadInbox) and event.number is None:
        problem = "is missing: which look into the inbox it is, from 1"
        raise Invalid(f"number: {problem}", [FieldError(("number",), problem)])
    return line


def _invalid(line: dict[str, Json], problem: str) -> Invalid:
    """What is wrong with a line; the sentence names the field in quotation marks."""
    field = next((name for name in (*line, *_NEEDED) if f'"{name}"' in problem), "type")
    return Invalid(f"{field}: {problem}", [FieldError((field,), problem)])


def _answer_to(line: bytes) -> dict[str, Json]:
    """What the pool answers. Raises TooMany, PoolSilent, and Unauthenticated where the attempt ends."""
    run: Run = g.run
    until, wake_at, pause = time.monotonic() + PATIENCE, time.monotonic() + _WAKE_AGAIN, _FIRST_PAUSE
    token = ask(core.inbox, core.notices, run, line)
    while (answer := core.inbox.answered(run.thread_id, run.id, run.attempt, token)) is None:
        now = time.monotonic()
        if now >= until:
            raise PoolSilent
        if now >= wake_at:
            wake_at = now + _WAKE_AGAIN
            if core.database.read(runs.of_token, run.id, run.attempt) is None:
                raise Unauthenticated("The attempt has ended, and nobody answers it any more.")
            wake_pool(core.notices, run)
        gevent.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * 2)
    told: dict[str, Json] = orjson.loads(answer)
    return told


def _sub_run(run: Run, sub_run_id: str) -> Run:
    found = core.database.read(runs.find, sub_run_id)
    if found is None or found.parent_run_id != run.id or found.call_id is None:
        raise NotFound("The run has called no such run.")
    return found


def _news_of(run: Run) -> bool:
    return run.status.terminal or run.status is RunStatus.WAITING


def _told(thread_id: str, run: Run) -> Response:
    """What has become of a sub-run; ``thread_id``: of its caller."""
    call_id = run.call_id or ""
    if not _news_of(run):
        return json_response({"type": "called", "id": call_id, "run_id": run.id})
    written = core.database.read(calls.output, run)
    asked = [
        call_lines.question(call_id, message, written[:place])
        for place, message in enumerate(written)
        if message.type is MessageType.CONFIRMATION
    ]
    if run.status.terminal:
        # The pool has the caller read them as its own, but it may not have come to that.
        core.database.write(files.use, thread_id, files.ids_of(written))
        below = core.database.read(usage.below, [run]).get(run.id)
        shown = [message.encode() for message in written]
        told = call_lines.result(call_id, run, shown, below)
    else:
        told = asked.pop()
    return json_response({**told, "questions": asked})
