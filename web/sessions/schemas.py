"""What clients send of sessions, and what they are shown."""

from __future__ import annotations

from enum import StrEnum

from marshmallow import fields, validate

from runtime.sessions.model import By, Reason, Status
from runtime.store.queued_messages import MAX_WAITING
from runtime.tokens import LONGEST
from runtime.transfer import kinds
from runtime.transfer.kinds import Config, Flag, Id, Object, integer, one_of, says, text
from web.api.schemas import outputs, queries
from web.api.schemas.inputs import Input, message_list

_MOST = 1_000_000_000
_USUAL = 3600


def _more_than_nothing() -> validate.Range:
    return validate.Range(0, _MOST, min_inclusive=False)


class Auto(Input):
    """Whether a session goes on by itself."""

    enabled = Flag()
    prompt = text(
        10_000, allow_none=True, metadata=says("what the next turn is asked; null: the setting's prompt")
    )


class Window(Input):
    """What of the conversation the turns of a session are given; what is left out stays."""

    k = integer(1, 100, allow_none=True, metadata=says("the last so many messages; null: the worker's"))
    pinned_message_id = Id(allow_none=True, metadata=says("the message that is its goal"))
    summary = kinds.worker_id(
        allow_none=True, metadata=says("the worker that sums up what is left out; null: the worker's")
    )


class Limits(Input):
    """After what a session goes on no more by itself; null: never for that. What is left out stays."""

    max_turns = integer(1, 1_000_000, allow_none=True, metadata=says("since the last message of a person"))
    max_seconds = kinds.Number(allow_none=True, validate=_more_than_nothing(), metadata=says("running"))
    max_tokens = integer(1, _MOST, allow_none=True, metadata=says("in and out, sub-runs included"))
    max_cost = kinds.Number(
        allow_none=True,
        validate=_more_than_nothing(),
        metadata=says("in the currency of the configured prices"),
    )


class NewSession(Input):
    """A session for a thread."""

    required_body = False

    worker_id = kinds.worker_id(
        load_default=None, allow_none=True, metadata=says("default: the thread's worker")
    )
    config = Config(
        "default: the thread's, if the worker is the thread's", load_default=None, allow_none=True
    )
    auto = fields.Nested(Auto, load_default=dict)
    window = fields.Nested(Window, load_default=dict)
    limits = fields.Nested(Limits, load_default=dict)
    state_id = Id(
        load_default=None, allow_none=True, metadata=says("where it goes on; default: the newest ended state")
    )


class SessionChanges(Input):
    """What to change about a session; what is left out stays."""

    auto = fields.Nested(Auto)
    window = fields.Nested(Window)
    limits = fields.Nested(Limits)
    tip_state_id = Id(metadata=says("go on from here, from the next turn on"))


class SessionMessages(Input):
    """Messages of a person to a session."""

    messages = message_list(1, MAX_WAITING, required=True)


class Scope(StrEnum):
    """What a token of a session permits on its thread."""

    READ = "read"
    WRITE = "write"


class NewSessionToken(Input):
    """A token for the thread of a session."""

    scope = one_of(Scope, required=True, metadata=says("`write` reads, too"))
    ttl_seconds = integer(1, LONGEST, load_default=_USUAL, metadata=says("how long it counts"))


class TransitionsQuery(queries.Limited):
    """Which page of the transitions of a session."""


class StopReason(outputs.Output):
    """Why a session has stopped."""

    code = one_of(Reason)
    message = fields.String()


class Session(outputs.Output):
    """The session of a thread, which goes on by itself if it is to."""

    id = fields.String(metadata={"format": "uuid", "description": "a UUIDv4"})
    thread_id = outputs.identifier()
    worker_id = fields.String(allow_none=True, metadata=says("null: the thread's"))
    config = Object(allow_none=True)
    status = one_of(Status)
    turn = fields.Integer(metadata=says("how many turns have begun"))
    transition = fields.Integer(metadata=says("how many transitions there were; it only grows"))
    revision = fields.Integer(metadata=says("of two, the greater one is the later one"))
    tip_state_id = outputs.identifier(metadata=says("where it goes on"))
    run_id = outputs.identifier(allow_none=True, metadata=says("the run of its last turn"))
    pausing = fields.Boolean(metadata=says("whether none is to follow the turn that is under way"))
    auto = Object(metadata=says("`{enabled, prompt}`"))
    window = Object(metadata=says("`{k, pinned_message_id, summary}`, each only where it is set"))
    limits = Object(
        metadata=says(
            "`{max_turns, max_seconds, max_tokens, max_cost}`, each a number or null; of an agent chat also "
            "`max_messages`"
        )
    )
    used = Object(
        metadata=says(
            "`{turns, seconds, tokens, cost}`; turns since the last message of a person, all else over the "
            "session, lost attempts and sub-runs included; null: not known"
        )
    )
    stop_reason = fields.Nested(StopReason, allow_none=True)
    held = fields.String(allow_none=True, metadata=says("why the next turn has not begun, though it is to"))
    created_at = outputs.moment()
    updated_at = outputs.moment()


class SessionTransition(outputs.Output):
    """One transition of a session."""

    number = fields.Integer()
    from_ = one_of(Status, data_key="from")
    to = one_of(Status)
    by = one_of(By)
    user_id = outputs.identifier(allow_none=True)
    run_id = outputs.identifier(allow_none=True)
    code = fields.String(allow_none=True)
    message = fields.String(allow_none=True)
    created_at = outputs.moment()


class Summary(outputs.Output):
    """The beginning of a conversation, as a worker has summed it up."""

    state_id = outputs.identifier(metadata=says("that of the last message that it covers"))
    messages = fields.Integer(metadata=says("how many it covers, from the first one on"))
    content = fields.String()
    created_at = outputs.moment()


class SessionSummary(outputs.Output):
    """Who sums up what the window of a session leaves out, and what has come of it."""

    worker_id = fields.String(
        allow_none=True, metadata=says("the session's, or that of the window of its worker; null: nobody")
    )
    summary = fields.Nested(
        Summary, allow_none=True, metadata=says("what the next turn is given; null: there is none yet")
    )


class SessionToken(outputs.Output):
    """A token for the thread of a session; it is shown this once."""

    token = fields.String(metadata=says("a JSON Web Token"))
    expires_at = outputs.moment()
    scope = one_of(Scope)
