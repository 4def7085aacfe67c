"""Sessions: threads that go on by themselves, turn after turn."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import Response

from runtime.model import encode_time
from runtime.sessions import store, tokens
from runtime.sessions.model import Session
from runtime.sessions.service import OncePerKey, Sessions
from runtime.tokens import thread_token
from web.api import body_limits, idempotency
from web.api.openapi import Blueprint
from web.api.schemas import outputs
from web.core import core
from web.http.responses import json_response, no_content
from web.security import auth
from web.sessions import schemas

views = Blueprint(
    "sessions",
    __name__,
    url_prefix="/api/threads/<id:thread_id>/session",
    description="Threads that go on by themselves",
)
views.before_request(auth.sign_in_required)
views.before_request(body_limits.enter_lane)

_SessionAnswer = outputs.wrapped("SessionAnswer", session=schemas.Session)
_SessionMessages = outputs.wrapped("SessionMessagesAnswer", session=schemas.Session, run=outputs.Run)


@views.route("", methods=["POST"])
@views.arguments(schemas.NewSession)
@views.response(201, _SessionAnswer)
def create_session(given: dict[str, Any], thread_id: str) -> Response:
    """Give the thread a session. 409 if it has one.

    A message begins its first turn. With `auto.enabled`, each turn is followed by another one, which
    is asked `auto.prompt`, until the worker says that the goal is reached, a limit is, or you stop it.
    """
    return _answer(_sessions().create(auth.current_user(), thread_id, **given), 201)


@views.route("")
@views.response(200, _SessionAnswer)
def get_session(thread_id: str) -> Response:
    """The session of the thread."""
    return _answer(_sessions().get(auth.current_user(), thread_id))


@views.route("", methods=["PATCH"])
@views.arguments(schemas.SessionChanges)
@views.response(200, _SessionAnswer)
def change_session(given: dict[str, Any], thread_id: str) -> Response:
    """Change what is named. It begins no turn: `resume` does.

    `tip_state_id` has it go on from another state of the thread, from its next turn on; 409 while the
    run of that state has not ended.
    """
    return _answer(_sessions().change(auth.current_user(), thread_id, given))


@views.route("/messages", methods=["POST"], parameters=[idempotency.PARAMETER])
@views.arguments(schemas.SessionMessages)
@views.response(202, _SessionMessages)
def send_to_session(given: dict[str, Any], thread_id: str) -> Response:
    """Messages of yours: they begin a turn, or wait for the one that is under way.

    A worker that reads its inbox has them at once; what it has not read begins the next turn. 409 if
    the session is closed, or has used up its seconds, tokens or cost.
    """
    user, key = auth.current_user(), idempotency.key_of(given)
    once = OncePerKey(user.id, key) if key else None
    answer = _sessions().send(user, thread_id, given["messages"], once)
    return json_response(answer, 202)


@views.route("/pause", methods=["POST"])
@views.response(200, _SessionAnswer)
def pause_session(thread_id: str) -> Response:
    """Let the turn end, and none follow."""
    return _answer(_sessions().pause(auth.current_user(), thread_id))


@views.route("/resume", methods=["POST"])
@views.response(200, _SessionAnswer)
def resume_session(thread_id: str) -> Response:
    """Go on where it has stopped: with what was sent meanwhile, or with the prompt. 409 if it has not."""
    return _answer(_sessions().resume(auth.current_user(), thread_id))


@views.route("/step", methods=["POST"])
@views.response(200, _SessionAnswer)
def step_session(thread_id: str) -> Response:
    """The same for one turn, behind which it stops."""
    return _answer(_sessions().resume(auth.current_user(), thread_id, one_turn=True))


@views.route("/stop", methods=["POST"])
@views.response(200, _SessionAnswer)
def stop_session(thread_id: str) -> Response:
    """Cancel the turn; none follows. It stops once the run has ended."""
    return _answer(_sessions().stop(auth.current_user(), thread_id))


@views.route("/close", methods=["POST"])
@views.response(200, _SessionAnswer)
def close_session(thread_id: str) -> Response:
    """End the session for good, its turn, and its tokens. The thread stays."""
    user = auth.current_user()
    closed = _sessions().close(user, thread_id)
    core.credentials.revoked(user.id)
    return _answer(closed)


@views.route("/token", methods=["POST"])
@views.arguments(schemas.NewSessionToken)
@views.response(201, schemas.SessionToken)
def create_token(given: dict[str, Any], thread_id: str) -> Response:
    """A bearer token that reads this thread, or also writes it, and reaches nothing else.

    It stands for you until its time is over, you revoke it, or the session is closed. With `write` it
    does on the thread what you could, but for deleting it, and for closing the session or making tokens.
    """
    made = core.database.read(
        tokens.grant,
        auth.current_user(),
        thread_id,
        writes=given["scope"] == schemas.Scope.WRITE,
        seconds=given["ttl_seconds"],
    )
    expires_at = encode_time(datetime.fromtimestamp(made.expires_at, UTC))
    token = thread_token(core.settings, made)
    return json_response({"token": token, "expires_at": expires_at, "scope": made.scope}, 201)


@views.route("/token", methods=["DELETE"])
@views.response(204)
def revoke_tokens(thread_id: str) -> Response:
    """Revoke all tokens of the session that were given out so far."""
    user = auth.current_user()
    core.database.write(tokens.revoke, user.workspace_id, thread_id)
    core.credentials.revoked(user.id)
    return no_content()


@views.route("/transitions")
@views.arguments(schemas.TransitionsQuery, location="query")
@views.response(200, outputs.page_of(schemas.SessionTransition))
def list_transitions(given: dict[str, Any], thread_id: str) -> Response:
    """What it has been, the latest first: from where to where, what moved it, and why."""
    session = _sessions().get(auth.current_user(), thread_id)
    page = core.database.read(store.history, session.id, limit=given["limit"], cursor=given["cursor"])
    return json_response({"items": [entry.encode() for entry in page.items], "next": page.next})


@views.route("/summary")
@views.response(200, schemas.SessionSummary)
def get_summary(thread_id: str) -> Response:
    """What the worker that sums up has made of what the window leaves out, on the way to the tip.

    The next turn is given it behind the goal.
    """
    worker_id, summary = _sessions().summary(auth.current_user(), thread_id)
    return json_response({"worker_id": worker_id, "summary": summary.encode() if summary else None})


def _answer(session: Session, status: int = 200) -> Response:
    return json_response({"session": session.encode()}, status)


def _sessions() -> Sessions:
    return Sessions(core.dispatcher, core.database, core.log, core.settings)
