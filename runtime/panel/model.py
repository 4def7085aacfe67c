"""What an agent chat is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from runtime.model import Json, Message, Role, encode_time


class AgentType(StrEnum):
    """What an agent is for. Which worker that is, PANEL_AGENTS says."""

    RAG = "rag"
    """It answers from documents."""
    DOCUMENT = "document"
    TASK = "task"


@dataclass(frozen=True, slots=True)
class AgentChat:
    """A chat with an agent."""

    session_id: str
    """The id of the thread's session: a UUIDv4."""
    thread_id: str
    workspace_id: str
    user_id: str
    agent_type: AgentType
    project_id: str | None
    """A label of the client's own."""
    created_at: datetime
    used_at: datetime
    """When the last message was sent; else when it was made."""

    def encode(self) -> dict[str, Json]:
        """The chat as the API shows it."""
        return {
            "session_id": self.session_id,
            "thread_id": self.thread_id,
            "agent_type": self.agent_type,
            "project_id": self.project_id,
            "created_at": encode_time(self.created_at),
            "used_at": encode_time(self.used_at),
        }


def encode_message(message: Message) -> dict[str, Json]:
    """A message as the panel shows it: ``sender`` is ``user`` or ``agent``."""
    encoded = message.encode()
    kept = ("id", "content", "type", "channel", "author", "data", "files", "status")
    return {
        **{name: encoded[name] for name in kept},
        "sender": "user" if message.role is Role.USER else "agent",
        "timestamp": encoded["created_at"],
    }
