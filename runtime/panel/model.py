"""What an agent chat is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from runtime.model import Json, Message, Role, User, encode_time
from runtime.tokens import AgentGrant


class AgentType(StrEnum):
    """What an agent is for. Which worker that is, PANEL_AGENTS says."""

    RAG = "rag"
    """It answers from documents."""
    DOCUMENT = "document"
    TASK = "task"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for agent chats: an account, or one of its own users by a token."""

    user: User
    subject: str | None = None
    """None: all chats of the account's workspace are reached; else those of this user only."""
    agent_types: frozenset[str] = frozenset(AgentType)
    """The types of agents that chats may be begun with."""

    @classmethod
    def of(cls, user: User, grant: AgentGrant | None) -> Self:
        """``grant``: what the token permits; None: all that the account may."""
        return cls(user, grant.subject, frozenset(grant.agent_types)) if grant else cls(user)

    @property
    def name(self) -> str:
        """Whose streams are counted together."""
        return self.user.id if self.subject is None else f"{self.user.id} {self.subject}"


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
    subject: str | None
    """The embedder's user who has begun it by a token; None: the account itself."""
    continues: str | None
    """The chat that this one was begun to continue, such as one that is full."""
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
            "subject": self.subject,
            "continues": self.continues,
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
