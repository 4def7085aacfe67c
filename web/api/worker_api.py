"""The Worker API over HTTP: what a child does on stdin and stdout, for workers anywhere.

A run token gives access to one attempt of one run, and to nothing else. Events that
are sent wait in an inbox for the run's executor, which treats them like lines on
stdout.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson
from flask import Response, g, request
from marshmallow import fields

from runtime.errors import NotFound, Unauthenticated
from runtime.model import Json, Run
from runtime.store import files, runs, saved_values, states, threads
from runtime.store.page import no_cursor
from runtime.tokens import read_run_cursor, read_run_token, run_cursor
from runtime.transfer import kinds
from web.api.files import CONTENT, RANGE
from web.api.openapi import Blueprint
from web.api.schemas import outputs, queries
from web.api.worker_events import push, read_events
from web.core import core, this_core
from web.http.contents import content_response
from web.http.parsing import pieces
from web.http.responses import json_response
from web.streaming.commands import Commands
from web.streaming.sse import DOCUMENTED, send

worker_api = Blueprint(
    "worker", __name__, url_prefix="/worker/runs/<id:run_id>", security=("run",), description="For workers"
)

_RunForWorker = outputs.wrapped(
    "RunForWorker",
    run=outputs.Run,
    answers=fields.List(kinds.Object()),
    thread=fields.Raw(metadata={"type": "object", "description": "Its id, title and metadata."}),
    state=fields.Raw(metadata={"description": "What the worker before has kept."}),
    saved=fields.Raw(metadata={"type": "object", "description": "What its attempts have saved, by key."}),
)
_Accepted = outputs.wrapped(
    "AcceptedEvents", accepted=fields.Integer(metadata={"description": "how many events were accepted"})
)
_FileAnswer = outputs.wrapped("MadeFileAnswer", file=outputs.File)
CONTENT_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_EVENT = {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]}
_EVENTS = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "array", "items": _EVENT}},
            "application/x-ndjson": {
                "schema": {"type": "string", "description": "Such an object in each line."}
            },
        },
    }
}


@worker_api.before_request
def run_token_required() -> None:
    """Authenticate the run. Raises Unauthenticated once its attempt has ended."""
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    grant = read_run_token(core.settings, text.strip()) if scheme.lower() == "bearer" else None
    run = core.database.read(runs.of_token, grant.run_id, grant.attempt) if grant else None
    if run is None:
        raise Unauthenticated("The run token is not valid, or its attempt has ended.")
    if run.id != (request.view_args or {})["run_id"]:
        raise NotFound("The token is for another run.")
    g.run, g.run_grant = run, grant


@worker_api.route("")
@worker_api.response(200, _RunForWorker)
def get_own_run(run_id: str) -> Response:
    """The run, the answers to its questions, what it has saved, its thread, and the data of its input."""
    run: Run = g.run

    def read(c: Any) -> tuple[list[saved_values.SavedValue], dict[str, Json], Json]:
        return (
            saved_values.of_run(c, run.id),
            threads.about(c, run.thread_id),
            states.data(c, run.workspace_id, run.input_state_id),
        )

    saved, thread, data = core.database.read(read)
    return json_response(
        {
            "run": run.encode(),
            "answers": [dict(reply) for reply in run.answers],
            "saved": {one.key: orjson.Fragment(one.value) for one in saved},
            "thread": thread,
            "state": data,
        }
    )


@worker_api.route("/messages")
@worker_api.arguments(queries.WorkerHistoryQuery, location="query")
@worker_api.response(200, outputs.page_of(outputs.Message))
def list_own_messages(given: dict[str, Any], run_id: str) -> Response:
    """The history up to the input state: its newest window, oldest message first."""
    run: Run = g.run
    limit = given["limit"] or min(_history_of(run.worker_id), queries.MAX_PAGE)
    # A cursor names a state, so it is signed: a made-up one could name another branch's.
    cursor = given["cursor"] and read_run_cursor(core.settings, run.id, given["cursor"])
    if given["cursor"] and cursor is None:
        raise no_cursor()
    window = core.database.read(
        states.history, run.workspace_id, run.input_state_id, limit=limit, cursor=cursor
    )
    next_cursor = window.next and run_cursor(core.settings, run.id, window.next)
    return json_response({"items": [message.encode() for message in window.items], "next": next_cursor})


@worker_api.route("/events", methods=["POST"])
@worker_api.doc(**_EVENTS)
@worker_api.arguments(queries.NumberedQuery, location="query")
@worker_api.response(202, _Accepted)
def post_events(given: dict[str, Any], run_id: str) -> Response:
    """Send events of the worker's protocol: one JSON array, or NDJSON for as long as the worker works.

    With `first`, the number of the first of them, they are numbered, from 1 in each attempt and
    without a gap. Those that came before are skipped, so that a request that may have failed can be
    sent again. 409 where events before the first one have not come.
    """
    number, accepted = given["first"], 0
    for batch in read_events(request):
        accepted += push(core.inbox, core.notices, g.run, batch, number and number + accepted)
    return json_response({"accepted": accepted}, 202)


@worker_api.route("/commands")
@worker_api.alt_response(200, **DOCUMENTED)
def commands(run_id: str) -> Response:
    """`cancel` when the run is to end; `end` when the attempt is over."""
    leave = core.open_commands.enter(run_id)
    response = send(this_core(), Commands(this_core(), g.run), lambda: True)
    response.call_on_close(leave)
    return response


@worker_api.route("/files", methods=["POST"])
@worker_api.arguments(queries.NewFileQuery, location="query")
@worker_api.doc(**CONTENT_BODY)
@worker_api.response(201, _FileAnswer)
def make_file(given: dict[str, Any], run_id: str) -> Response:
    """Add a file that the run has made, whose content is the body. Messages name it by its id.

    What an attempt of the run has added before, of the same name and content, is not added again.
    """
    run: Run = g.run
    with core.uploads.hold(run.user_id), core.files.stage() as staged:
        for piece in pieces(request):
            staged.write(piece)
        file = core.files.add_of_run(staged, run, given["name"], given["type"])
    return json_response({"file": file.encode()}, 201)


@worker_api.route("/files/<id:file_id>", parameters=[RANGE])
@worker_api.alt_response(200, description="Its content", **CONTENT)
@worker_api.alt_response(206, description="The range that was asked for", **CONTENT)
@worker_api.alt_response(304, description="You have it, by `If-None-Match`", success=True)
def get_own_file(run_id: str, file_id: str) -> Response:
    """The content of a file that messages of the run's thread name."""
    file = core.database.read(files.of_run, g.run, file_id)
    return content_response(file, partial(core.files.read, file))


def _history_of(worker_id: str) -> int:
    core.catalogue.refresh()
    worker = core.catalogue.workers.get(worker_id)
    return (worker.history if worker else None) or core.settings.run.history
