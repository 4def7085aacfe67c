"""What clients of the panel send, and what they are shown."""

from __future__ import annotations

from enum import StrEnum

from marshmallow import fields, validate

from runtime.model import Channel, MessageStatus, MessageType
from runtime.panel.model import AgentType
from runtime.store.files import MOST as MOST_FILES
from runtime.tokens import LONGEST as LONGEST_TOKEN
from runtime.transfer.kinds import Config, Id, Object, Several, Value, integer, named, one_of, says
from web.api.schemas import outputs, queries
from web.api.schemas.inputs import Input

LONGEST = 100_000
"""Characters of a message."""


class Sender(StrEnum):
    """Who has written a message."""

    USER = "user"
    AGENT = "agent"


class NewChat(Input):
    """A new agent chat."""

    agent_type = one_of(AgentType, required=True)
    project_id = named(load_default=None, allow_none=True, metadata=says("a label of your own"))
    continues = Id(
        load_default=None,
        allow_none=True,
        metadata=says(
            "a chat of yours that the new one goes on with, such as one that is full; asked for again, the "
            "one that was begun is answered"
        ),
    )


class Subject(Input):
    """A user of an application that has agents."""

    subject = named(required=True, metadata=says("your application's own name for its user"))


class NewAgentToken(Subject):
    """A token for a user of an application."""

    agent_types = fields.List(
        one_of(AgentType), load_default=list(AgentType), validate=validate.Length(1, len(AgentType))
    )
    ttl_seconds = integer(1, LONGEST_TOKEN, load_default=3600, metadata=says("how long it counts"))


class ChatMessage(Input):
    """A message to an agent."""

    message = fields.String(required=True, validate=validate.Length(1, LONGEST))
    context = Config("the `args` of the run that answers", load_default=None, allow_none=True)
    client_id = Id(
        load_default=None,
        allow_none=True,
        metadata=says("your own name for the message: sent again in this session, it is taken once"),
    )
    files = Several(
        Id(),
        load_default=list,
        validate=validate.Length(max=MOST_FILES, error="may name {max} files"),
        metadata=says("ids of files that you have uploaded"),
    )


class OfChat(Input):
    """An event of a socket about a chat."""

    session_id = Id(required=True)


class JoinChat(OfChat):
    """Tell what happens in a chat."""

    after = fields.String(load_default=None, allow_none=True, metadata=says("the id of the last event"))


class SocketMessage(OfChat, ChatMessage):
    """The same as over REST."""


class SocketAnswer(OfChat):
    """The answer to an agent's question."""

    confirmation_id = named(load_default=None, allow_none=True)
    answer = Value(required=True)


class ChatsQuery(queries.Limited):
    """Which agent chats."""

    project_id = named(load_default=None, metadata=says("only those of this project"))


class ChatQuery(queries.Limited):
    """Which messages of a chat."""


class AgentChat(outputs.Output):
    """A chat with an agent."""

    session_id = fields.String(metadata={"format": "uuid", "description": "a UUIDv4"})
    thread_id = outputs.identifier()
    agent_type = one_of(AgentType)
    project_id = fields.String(allow_none=True)
    subject = fields.String(
        allow_none=True, metadata=says("the user of your application who has begun it by a token")
    )
    continues = fields.String(
        allow_none=True, metadata=says("the session_id of the chat that it was begun to continue")
    )
    created_at = outputs.moment()
    used_at = outputs.moment()


class PanelMessage(outputs.Output):
    """A message of an agent chat."""

    id = outputs.identifier()
    sender = one_of(Sender)
    content = fields.String()
    timestamp = outputs.moment()
    type = one_of(MessageType)
    channel = one_of(Channel)
    author = fields.String(allow_none=True)
    data = Object()
    files = fields.List(fields.Nested(outputs.NamedFile))
    status = one_of(MessageStatus)


class AgentChatWithMessages(AgentChat):
    """A chat with its newest messages, oldest first."""

    messages = fields.List(fields.Nested(PanelMessage))
    next = fields.String(allow_none=True, metadata=says("cursor of the messages before these"))


class NewChatAnswer(outputs.Output):
    """The new chat."""

    session_id = fields.String(metadata={"format": "uuid", "description": "a UUIDv4"})


class AgentToken(outputs.Output):
    """A token for a user of an application; it is shown this once."""

    token = fields.String(metadata=says("a JSON Web Token"))
    subject = fields.String()
    agent_types = fields.List(one_of(AgentType))
    expires_at = outputs.moment()


class SentAnswer(outputs.Output):
    """The message is stored, and will be answered."""

    status = fields.String(validate=validate.OneOf(["sent"]))
    run_id = outputs.identifier(metadata=says("the run that answers it"))
