"""Runs: creating them, waiting for them, cancelling them, and answering their questions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, request, url_for

from runtime.dispatch import Accepted, NewThread, RunRequest, after_commit, encode_wait
from runtime.errors import FieldError, Invalid, TooMany, Unavailable
from runtime.model import Json, Message, Run, RunStatus, encode_time
from runtime.store import backlog, calls, messages, runs, usage
from web.api import body_limits, idempotency
from web.api.events import stream_run
from web.api.openapi import Blueprint
from web.api.schemas import inputs, outputs, queries
from web.core import core, this_core
from web.http.responses import json_response
from web.security import auth
from web.streaming.sse import DOCUMENTED, EVENT_STREAM
from web.streaming.wait import answer_when_ended

on_thread = Blueprint(
    "thread runs", __name__, url_prefix="/api/threads/<id:thread_id>/runs", description="Runs on a thread"
)
on_thread.before_request(auth.sign_in_required)
on_thread.before_request(body_limits.enter_lane)
views = Blueprint("runs", __name__, url_prefix="/api/runs", description="Executions of workers")
views.before_request(auth.sign_in_required)
views.before_request(body_limits.enter_lane)

_CANCEL_WAIT = 30.0
"""Seconds to wait for ``wait: true``."""

_RunAnswer = outputs.wrapped("RunAnswer", run=outputs.Run)
_RunPage = outputs.page_of(outputs.Run)
_SubRunPage = outputs.page_of(outputs.RunWithUsage)
_RunDetail = outputs.wrapped("RunDetail", run=outputs.RunWithQueue)
_RunResult = outputs.wrapped("RunResult", run=outputs.RunWithQueue, messages=[outputs.Message])
_Accepted = outputs.wrapped("Accepted", runs=[outputs.Run], states=[outputs.State], input_state=outputs.State)
_AcceptedWithThread = outputs.wrapped(
    "AcceptedWithThread",
    thread=outputs.Thread,
    root_state=outputs.State,
    runs=[outputs.Run],
    states=[outputs.State],
    input_state=outputs.State,
)
_LOCATION = {"Location": {"schema": {"type": "string"}}}
_STREAMED = {
    **DOCUMENTED,
    "description": "The events of the run, where `Accept` prefers `text/event-stream`",
    "headers": _LOCATION,
}
_JSON = "application/json"


@on_thread.route("", methods=["POST"], parameters=[idempotency.PARAMETER])
@on_thread.arguments(inputs.NewRun)
@on_thread.response(202, _Accepted, headers=_LOCATION)
@on_thread.alt_response(200, **_STREAMED)
def create_runs(given: dict[str, Any], thread_id: str) -> Response:
    """Run a worker on a state.

    `messages` become a new state below the input state first. `states` are the states
    that the runs will fill, in the order of `runs`. A client whose `Accept` prefers
    `text/event-stream` gets the stream of the run instead.
    """
    return _accepted(thread_id, given)


@views.route("", methods=["POST"], parameters=[idempotency.PARAMETER])
@views.arguments(inputs.NewThreadRun)
@views.response(202, _AcceptedWithThread, headers=_LOCATION)
@views.alt_response(200, **_STREAMED)
def create_runs_on_new_thread(given: dict[str, Any]) -> Response:
    """Create a thread and run a worker on it. The response is as for runs on a thread."""
    return _accepted(NewThread(given["title"], given["metadata"] or {}), given)


@views.route("")
@views.arguments(queries.RunsQuery, location="query")
@views.response(200, _RunPage)
def list_runs(given: dict[str, Any]) -> Response:
    """Your runs, newest first."""
    status = given.pop("status")
    page = core.database.read(
        runs.listing,
        auth.current_user().workspace_id,
        status=RunStatus(status) if status else None,
        **given,
    )
    return json_response({"items": [run.encode() for run in page.items], "next": page.next})


@views.route("/<id:run_id>")
@views.response(200, _RunDetail)
def get_run(run_id: str) -> Response:
    """One run; while it is queued, also what it waits for."""
    workspace_id = auth.current_user().workspace_id

    def read(c: Any) -> dict[str, Json]:
        return _with_queue(c, runs.get(c, workspace_id, run_id))

    return json_response({"run": core.database.read(read)})


@views.route("/<id:run_id>/wait")
@views.arguments(queries.WaitQuery, location="query")
@views.response(200, _RunResult)
def wait_for_run(given: dict[str, Any], run_id: str) -> Response:
    """The run and its messages once it has ended, or as they are when the time is over.

    An answer that takes longer than 15 seconds begins then, with 200, and with spaces before its
    JSON. If it fails after that, the body is a problem document, whose `status` says how.
    """
    workspace_id = auth.current_user().workspace_id
    run = _get(run_id)

    def read(c: Any) -> dict[str, Json]:
        run = runs.get(c, workspace_id, run_id)
        output = messages.of_state(c, run.output_state_id)
        return {"run": _with_queue(c, run), "messages": [message.encode() for message in output]}

    def answer(_: Run) -> Response:
        return json_response(core.database.read(read))

    return answer_when_ended(this_core(), run, given["timeout"], answer)


@views.route("/<id:run_id>/log")
@views.response(200, outputs.page_of(outputs.AttemptLog))
def get_log(run_id: str) -> Response:
    """What each attempt wrote to stderr, earliest attempt first."""
    _get(run_id)
    return json_response({"items": core.database.read(runs.logs, run_id), "next": None})


@views.route("/<id:run_id>/attempts")
@views.response(200, outputs.page_of(outputs.Attempt))
def list_attempts(run_id: str) -> Response:
    """Every attempt with its messages and steps, earliest first."""
    workspace_id = auth.current_user().workspace_id

    def read(c: Any) -> list[dict[str, Json]]:
        run = runs.get(c, workspace_id, run_id)
        written = messages.of_attempts(c, run_id, run.output_state_id)
        steps = runs.steps(c, run_id)
        logged = (entry["attempt"] for entry in runs.logs(c, run_id))
        known = {*written, *(step["attempt"] for step in steps), *logged, run.attempt}
        numbers = {*range(1, run.attempt + 1)} & known
        return [_attempt(number, written.get(number, []), steps) for number in sorted(numbers)]

    with core.exports.hold(auth.current_user().id):
        return json_response({"items": core.database.read(read), "next": None})


@views.route("/<id:run_id>/children")
@views.arguments(queries.ChildrenQuery, location="query")
@views.response(200, _SubRunPage)
def list_children(given: dict[str, Any], run_id: str) -> Response:
    """The runs that its worker has called, newest first. They are in no other list.

    Each is read by its id as any run, with its stream and its output state.
    """
    _get(run_id)

    def read(c: Any) -> dict[str, Json]:
        page = calls.children(c, run_id, **given)
        below = usage.below(c, page.items)
        return {"items": [_with_usage(run, below) for run in page.items], "next": page.next}

    return json_response(core.database.read(read))


@views.route("/<id:run_id>/cancel", methods=["POST"])
@views.arguments(inputs.Cancel)
@views.response(202, _RunAnswer)
def cancel_run(given: dict[str, Any], run_id: str) -> Response:
    """Cancel a run, whether it has started or not. A run that has ended stays as it is.

    With `wait`, an answer that takes longer than 15 seconds comes like that of `wait` of a run.
    """
    user = auth.current_user()
    if given["wait"]:
        core.open_streams.check(user.id)  # before anything is done
    run = core.dispatcher.cancel(user, run_id)
    if not run.status.terminal:
        after_commit(core.announcer.hint_run, run)

    def answer(run: Run) -> Response:
        return json_response({"run": run.encode()}, 202)

    if not given["wait"]:
        return answer(run)
    seconds = _CANCEL_WAIT if given["wait"] is True else float(given["wait"])
    return answer_when_ended(this_core(), run, seconds, answer)


@views.route("/<id:run_id>/answer", methods=["POST"])
@views.arguments(inputs.Answer)
@views.response(202, _RunAnswer)
def answer_run(given: dict[str, Any], run_id: str) -> Response:
    """Answer the question of a waiting run. 409 if it is not waiting."""
    user = auth.current_user()
    run = core.dispatcher.answer(user, run_id, given["confirmation_id"], given["answer"])
    return json_response({"run": run.encode()}, 202)


def _accepted(target: str | NewThread, given: dict[str, Any]) -> Response:
    user = auth.current_user()
    streamed = _wants_stream()
    if streamed and given["n"] > 1:
        problem = "must be 1 for a stream, which has the events of one run"
        raise Invalid(f"n: {problem}", [FieldError(("n",), problem)])
    run_request = RunRequest(
        input_state_id=given.get("input_state_id"),
        messages=given["messages"],
        worker_id=given["worker_id"],
        config=given["config"],
        args=given["args"],
        count=given["n"],
        priority=given["priority"],
        timeout=given["timeout"],
    )
    if streamed:
        core.open_streams.check(user.id)  # before the run is accepted
    accepted = core.dispatcher.create(user, target, run_request, idempotency.key_of(given))
    run_id = accepted.answer["runs"][0]["id"]
    response = _streamed(run_id, accepted) if streamed else None
    response = response or json_response(accepted.answer, 202)
    response.headers["Location"] = url_for("runs.get_run", run_id=run_id)
    return response


def _wants_stream() -> bool:
    if EVENT_STREAM not in request.headers.get("Accept", ""):
        return False
    return request.accept_mimetypes.best_match([_JSON, EVENT_STREAM]) == EVENT_STREAM


def _streamed(run_id: str, accepted: Accepted) -> Response | None:
    """The stream of an accepted run; None if it cannot begin now: the run is accepted all the same."""
    if core.stopping or not accepted.announced:
        return None
    try:
        return stream_run(accepted.runs[0] if accepted.runs else _get(run_id))
    except (TooMany, Unavailable):
        return None


def _get(run_id: str) -> Run:
    return core.database.engine.get_run(auth.current_user().workspace_id, run_id)


def _with_queue(c: Any, run: Run) -> dict[str, Json]:
    settings = core.settings
    wait = backlog.explain_wait(c, run, settings.pool.lease, settings.limits.running_per_user)
    return {**_with_usage(run, usage.below(c, [run])), "queue": encode_wait(wait)}


def _with_usage(run: Run, below: Mapping[str, Mapping[str, Json]]) -> dict[str, Json]:
    return {**run.encode(), "usage_below": below.get(run.id)}


def _attempt(number: int, written: list[Message], steps: list[dict[str, Json]]) -> dict[str, Json]:
    return {
        "attempt": number,
        "messages": [message.encode() for message in written],
        "steps": [
            {"number": step["number"], "description": step["description"], "at": encode_time(step["at"])}
            for step in steps
            if step["attempt"] == number
        ],
    }
