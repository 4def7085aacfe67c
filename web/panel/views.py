"""Agent chats: an application's agents, asked by its users."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import Response

from runtime.model import encode_time
from runtime.panel import tokens
from runtime.panel.model import AgentType, Caller
from runtime.panel.service import AgentChats, Sent
from runtime.tokens import AgentGrant, agent_token
from web.api import body_limits
from web.api.openapi import Blueprint
from web.api.schemas import outputs
from web.core import core
from web.http.responses import json_response, no_content
from web.panel import schemas
from web.security import auth

views = Blueprint(
    "agent chat",
    __name__,
    url_prefix="/api/agent-chat",
    description="Chats with the agents of an application",
)
views.before_request(auth.sign_in_required)
views.before_request(body_limits.enter_lane)


@views.route("/sessions", methods=["POST"])
@views.arguments(schemas.NewChat)
@views.response(200, schemas.NewChatAnswer)
def create_chat(given: dict[str, Any]) -> Response:
    """Begin a chat. 422 if there is no worker for agents of that type: PANEL_AGENTS names one.

    It is the session of a thread of its own, which never goes on by itself.
    """
    chat = _chats().create(_caller(), AgentType(given["agent_type"]), given["project_id"], given["continues"])
    return json_response({"session_id": chat.session_id})


@views.route("/sessions")
@views.arguments(schemas.ChatsQuery, location="query")
@views.response(200, outputs.page_of(schemas.AgentChat))
def list_chats(given: dict[str, Any]) -> Response:
    """Your chats, last used first; with an account, also those of its subjects."""
    page = _chats().listing(_caller(), **given)
    return json_response({"items": [chat.encode() for chat in page.items], "next": page.next})


@views.route("/sessions/<id:session_id>")
@views.arguments(schemas.ChatQuery, location="query")
@views.response(200, schemas.AgentChatWithMessages)
def get_chat(given: dict[str, Any], session_id: str) -> Response:
    """One chat, with its newest messages.

    404 with the code `session-expired` where there is none, also because nobody has used it for
    SESSION_TTL_HOURS: its thread is archived then.
    """
    return json_response(_chats().history(_caller(), session_id, **given))


@views.route("/sessions/<id:session_id>/messages", methods=["POST"])
@views.arguments(schemas.ChatMessage)
@views.response(200, schemas.SentAnswer)
def send_message(given: dict[str, Any], session_id: str) -> Response:
    """Ask the agent. It is answered once the message is stored.

    While the agent answers, a further message waits for its end, or goes to an agent that reads its
    inbox. 409 with the code `session-full` where the session has MAX_MESSAGES_PER_SESSION messages:
    begin a new one that `continues` it.
    """
    sent = Sent(given["message"], given["context"], given["client_id"], tuple(given["files"]))
    run_id = _chats().send(_caller(), session_id, sent)
    return json_response({"status": "sent", "run_id": run_id})


@views.route("/sessions/<id:session_id>", methods=["DELETE"])
@views.response(204)
def delete_chat(session_id: str) -> Response:
    """End the chat, and move its thread to the trash."""
    _chats().delete(_caller(), session_id)
    return no_content()


@views.route("/token", methods=["POST"])
@views.arguments(schemas.NewAgentToken)
@views.response(201, schemas.AgentToken)
def create_token(given: dict[str, Any]) -> Response:
    """A bearer token for a user of your application, whom you call `subject`.

    It begins chats with agents of these types, and reaches the chats that tokens of that subject have
    begun, with their runs, questions and files, and nothing else. Your server makes it, for whoever is
    signed in there, and hands it to the page.
    """
    seconds = given["ttl_seconds"]
    made = core.database.read(
        tokens.grant, auth.current_user(), given["subject"], given["agent_types"], seconds=seconds
    )
    expires_at = encode_time(datetime.fromtimestamp(made.expires_at, UTC))
    told = {"subject": made.subject, "agent_types": made.agent_types, "expires_at": expires_at}
    return json_response({"token": agent_token(core.settings, made), **told}, 201)


@views.route("/token", methods=["DELETE"])
@views.arguments(schemas.Subject, location="query")
@views.response(204)
def revoke_tokens(given: dict[str, Any]) -> Response:
    """Revoke all tokens of a subject that were given out so far. Its chats stay."""
    user = auth.current_user()
    core.database.write(tokens.revoke, user, given["subject"])
    core.credentials.revoked(user.id)
    return no_content()


def _caller() -> Caller:
    grant = auth.current_credential().grant
    assert grant is None or isinstance(grant, AgentGrant)
    return Caller.of(auth.current_user(), grant)


def _chats() -> AgentChats:
    return AgentChats(core.dispatcher, core.database, core.log, core.settings)
