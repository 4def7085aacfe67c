"""Agent chats: an application's agents, asked by its users."""

from __future__ import annotations

from typing import Any

from flask import Response

from runtime.panel.model import AgentType
from runtime.panel.service import AgentChats, Sent
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
    url_prefix="/api/agent-chat/sessions",
    description="Chats with the agents of an application",
)
views.before_request(auth.sign_in_required)
views.before_request(body_limits.enter_lane)


@views.route("", methods=["POST"])
@views.arguments(schemas.NewChat)
@views.response(200, schemas.NewChatAnswer)
def create_chat(given: dict[str, Any]) -> Response:
    """Begin a chat. 422 if there is no worker for agents of that type: PANEL_AGENTS names one.

    It is the session of a thread of its own, which never goes on by itself.
    """
    chat = _chats().create(auth.current_user(), AgentType(given["agent_type"]), given["project_id"])
    return json_response({"session_id": chat.session_id})


@views.route("")
@views.arguments(schemas.ChatsQuery, location="query")
@views.response(200, outputs.page_of(schemas.AgentChat))
def list_chats(given: dict[str, Any]) -> Response:
    """Your chats, last used first."""
    page = _chats().listing(auth.current_user(), **given)
    return json_response({"items": [chat.encode() for chat in page.items], "next": page.next})


@views.route("/<id:session_id>")
@views.arguments(schemas.ChatQuery, location="query")
@views.response(200, schemas.AgentChatWithMessages)
def get_chat(given: dict[str, Any], session_id: str) -> Response:
    """One chat, with its newest messages.

    404 with the code `session-expired` where there is none, also because nobody has used it for
    SESSION_TTL_HOURS: its thread is archived then.
    """
    return json_response(_chats().history(auth.current_user(), session_id, **given))


@views.route("/<id:session_id>/messages", methods=["POST"])
@views.arguments(schemas.ChatMessage)
@views.response(200, schemas.SentAnswer)
def send_message(given: dict[str, Any], session_id: str) -> Response:
    """Ask the agent. It is answered once the message is stored.

    While the agent answers, a further message waits for its end, or goes to an agent that reads its
    inbox. 409 where the session has MAX_MESSAGES_PER_SESSION messages: begin a new one.
    """
    sent = Sent(given["message"], given["context"], given["client_id"])
    run_id = _chats().send(auth.current_user(), session_id, sent)
    return json_response({"status": "sent", "run_id": run_id})


@views.route("/<id:session_id>", methods=["DELETE"])
@views.response(204)
def delete_chat(session_id: str) -> Response:
    """End the chat, and move its thread to the trash."""
    _chats().delete(auth.current_user(), session_id)
    return no_content()


def _chats() -> AgentChats:
    return AgentChats(core.dispatcher, core.database, core.log, core.settings)
