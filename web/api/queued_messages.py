"""Queued messages: what is sent to a run while it is under way."""

from __future__ import annotations

from typing import Any

from flask import Response

from runtime.store import queued_messages, runs
from web.api import body_limits, idempotency
from web.api.openapi import Blueprint
from web.api.schemas import inputs, outputs
from web.core import core
from web.http.responses import json_response, no_content
from web.security import auth

views = Blueprint(
    "queued messages",
    __name__,
    url_prefix="/api/runs/<id:run_id>/messages",
    description="Messages to runs that are under way",
)
views.before_request(auth.sign_in_required)
views.before_request(body_limits.enter_lane)

_Queued = outputs.wrapped("QueuedMessages", messages=[outputs.QueuedMessage])


@views.route("", methods=["POST"], parameters=[idempotency.PARAMETER])
@views.arguments(inputs.MessagesToRun)
@views.response(202, _Queued)
def send_messages(given: dict[str, Any], run_id: str) -> Response:
    """Send messages to a run that is under way. 409 if it has ended.

    They wait until its worker reads them, if it does. What nobody has read when the run succeeds
    begins a run of the same worker on its output state. After any other end it stays where it is.
    At most 100 messages of a run may wait, of 8 MiB together; 429 if it would be more.
    """
    key = idempotency.key_of(given)
    answer = core.dispatcher.send(auth.current_user(), run_id, given["messages"], key)
    return json_response(answer, 202)


@views.route("")
@views.response(200, outputs.page_of(outputs.QueuedMessage))
def list_messages(run_id: str) -> Response:
    """The messages to a run that nobody has read, and that have begun no other run; oldest first."""
    workspace_id = auth.current_user().workspace_id

    def read(c: Any) -> list[Any]:
        return queued_messages.waiting(c, runs.get(c, workspace_id, run_id).id)

    found = core.database.read(read)
    return json_response({"items": [message.encode() for message in found], "next": None})


@views.route("/<id:message_id>", methods=["DELETE"])
@views.response(204)
def remove_message(run_id: str, message_id: str) -> Response:
    """Remove a message that nobody has read. 409 if somebody has, or if it has begun a run."""
    core.dispatcher.take_back(auth.current_user(), run_id, message_id)
    return no_content()
