"""What clients send in bodies."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from runtime.model import Channel, MessageType, Role, ThreadStatus
from runtime.sdk.protocol.message_types import mistake
from runtime.store.files import MOST as MOST_FILES
from runtime.store.queued_messages import MAX_WAITING
from runtime.store.states import NewMessage
from runtime.transfer import kinds
from runtime.transfer.format import MOST_PARTS
from runtime.transfer.kinds import (
    Config,
    Flag,
    Id,
    Object,
    Part,
    Several,
    Value,
    integer,
    named,
    one_of,
    says,
    text,
)
from runtime.weak_passwords import MAX_LENGTH, MIN_LENGTH

MAX_FIELDS = 100
"""Names that an object may have; none here knows as many."""
MAX_SIBLINGS = 16
MAX_WAIT = 300
"""Seconds that a request may wait for a run."""


class Input(ma.Schema):
    """What a client sends in a body."""

    class Meta:
        unknown = ma.RAISE

    required_body = True
    """Whether a request without a body is refused, rather than taken for an empty object."""

    error_messages = {"unknown": "is not a known field", "type": "must be a JSON object"}

    @ma.pre_load
    def _check_size(self, values: Any, **_: Any) -> Any:
        if isinstance(values, dict) and len(values) > MAX_FIELDS:
            raise ma.ValidationError(f"has more than {MAX_FIELDS} fields")
        return values


_EMAIL_PART = r"[^@\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]"
"""No spaces, no control characters. Not by ``\\s``, which Python and JSON Schema read differently."""


def _email(**options: Any) -> fields.String:
    address = validate.Regexp(
        f"{_EMAIL_PART}{{1,64}}@{_EMAIL_PART}{{1,189}}\\Z", error="is not an email address"
    )
    return fields.String(required=True, validate=address, metadata={"maxLength": 254}, **options)


def _new_password() -> fields.String:
    length = validate.Length(MIN_LENGTH, MAX_LENGTH, error="must have {min} to {max} characters")
    what = "not one that is guessed first, nor your email address or the beginning of it"
    return fields.String(required=True, validate=length, metadata={"format": "password", **says(what)})


class Credentials(Input):
    """An account's email address and password."""

    email = _email()
    password = text(1024, required=True, metadata={"format": "password"})
    token = Flag(load_default=False, metadata=says("also return a token for programs"))
    name = text(200, load_default=None, allow_none=True)


class Registration(Credentials):
    """A new account."""

    password = _new_password()


class PasswordChange(Input):
    """A change of password."""

    current_password = text(1024, required=True, metadata={"format": "password"})
    new_password = _new_password()
    token = Flag(load_default=False, metadata=says("also return a token for programs"))


class NewToken(Input):
    """A new API token."""

    required_body = False

    name = named(load_default="API token", metadata=says("what the token is for"))


class NewThread(Input):
    """A new thread."""

    required_body = False

    title = kinds.title(load_default=None, allow_none=True)
    worker_id = kinds.worker_id(
        load_default=None, allow_none=True, metadata=says("the worker of runs that name none")
    )
    config = Config("that worker's configuration", load_default=None, allow_none=True)
    metadata = Object(load_default=None, allow_none=True, metadata=says("for your own use"))


class ThreadChanges(Input):
    """What to change about a thread; what is left out stays."""

    title = kinds.title(allow_none=True)
    worker_id = kinds.worker_id(allow_none=True)
    config = Config()
    metadata = Object()
    status = one_of(ThreadStatus)


class MessageInput(Input):
    """A new message. Only ``role`` and ``content`` are required."""

    role = one_of(Role, required=True)
    content = fields.String(required=True)
    type = one_of(MessageType, load_default=MessageType.TEXT.value)
    channel = one_of(Channel, load_default=Channel.ANSWER.value)
    author = kinds.author(load_default=None, allow_none=True)
    data = Object(load_default=dict, metadata=says("by type: `CodeData` is that of code, and so on"))
    files = Several(
        Id(),
        load_default=list,
        validate=validate.Length(max=MOST_FILES, error="may name {max} files"),
        metadata=says("ids of files that you have uploaded"),
    )

    @ma.validates_schema
    def _check_data(self, values: dict[str, Any], **_: Any) -> None:
        if wrong := mistake(MessageType(values["type"]), values["data"]):
            raise ma.ValidationError({wrong[0]: [wrong[1]]}, "data")

    @ma.post_load
    def _record(self, values: dict[str, Any], **_: Any) -> NewMessage:
        return NewMessage(
            role=Role(values["role"]),
            content=values["content"],
            type=MessageType(values["type"]),
            channel=Channel(values["channel"]),
            author=values["author"],
            data=values["data"],
            files=[{"id": file_id} for file_id in values["files"]] or None,
        )


class MessageBody(Input):
    """What a message of text says."""

    content = fields.String(required=True)
    data = Object(load_default=dict, metadata=says("as that of a message of text"))

    @ma.validates_schema
    def _check_data(self, values: dict[str, Any], **_: Any) -> None:
        if wrong := mistake(MessageType.TEXT, values["data"]):
            raise ma.ValidationError({wrong[0]: [wrong[1]]}, "data")


def message_list(least: int = 0, most: int = 1000, **options: Any) -> fields.List[Any]:
    """New messages."""
    length = validate.Length(least, most, error="must have {min} to {max} messages")
    return Several(fields.Nested(MessageInput), validate=length, **options)


class NewState(Input):
    """A new state below another, without a run."""

    parent_id = Id(required=True)
    messages = message_list(1, required=True)


def _parts() -> fields.List[Any]:
    return Several(Part(), required=True, validate=validate.Length(max=MOST_PARTS))


class Export(ma.Schema):
    """A thread as an export contains it. Its parts are checked when it is imported."""

    class Meta:
        unknown = ma.INCLUDE

    required_body = True

    format = fields.String(required=True)
    version = fields.Integer(required=True, strict=True)
    thread = Part(required=True)
    states = _parts()
    runs = _parts()


class StateChanges(Input):
    """What to change about a state; what is left out stays."""

    label = kinds.label(allow_none=True)
    starred = Flag()


class _RunOptions(Input):
    messages = message_list(
        load_default=list,
        metadata=says("added below the input state first; the run then works on the new state"),
    )
    worker_id = kinds.worker_id(
        load_default=None, allow_none=True, metadata=says("default: the thread's worker")
    )
    config = Config(
        "default: the thread's, if the worker is the thread's", load_default=None, allow_none=True
    )
    args = Value(load_default=None, allow_none=True, metadata=says("passed to the worker as it is"))
    n = integer(1, MAX_SIBLINGS, load_default=1, metadata=says("how many runs, as siblings"))
    priority = kinds.priority(load_default=0, metadata=says("among your own waiting runs; higher is sooner"))
    timeout = kinds.timeout(
        load_default=None,
        allow_none=True,
        metadata=says("seconds; default: the worker's"),
    )


class NewRun(_RunOptions):
    """New runs on a thread."""

    input_state_id = Id(required=True, metadata=says("the state to continue from"))


class NewThreadRun(_RunOptions):
    """New runs on a new thread."""

    title = kinds.title(load_default=None, allow_none=True)
    metadata = Object(load_default=None, allow_none=True)


class Cancel(Input):
    """How to cancel."""

    required_body = False

    wait = Value(
        load_default=None,
        allow_none=True,
        metadata={
            "description": "true, or seconds: respond once the run has ended, or when the time is over",
            "type": ["boolean", "number"],
            "minimum": 0,
            "maximum": MAX_WAIT,
        },
    )

    @ma.validates("wait")
    def _check_wait(self, value: Any, data_key: str) -> None:
        if value is not None and not (isinstance(value, bool | int | float) and 0 <= value <= MAX_WAIT):
            raise ma.ValidationError(f"must be true, false or a number of seconds up to {MAX_WAIT}")


class MessagesToRun(Input):
    """Messages to a run that is under way."""

    messages = message_list(1, MAX_WAITING, required=True)


class NewClaim(Input):
    """The offer of a machine to execute a run."""

    offer = fields.String(
        required=True,
        validate=validate.Regexp(
            r"[0-9a-zA-Z_-]{16,64}\Z", error="must be 16 to 64 of a-z, A-Z, 0-9, _ and -"
        ),
        metadata=says("random, and another one after each answer"),
    )
    wait = kinds.Number(
        load_default=10.0, validate=validate.Range(0, 10), metadata=says("seconds to wait for a run at most")
    )


class Answer(Input):
    """The answer to a run's question."""

    confirmation_id = named(load_default=None, allow_none=True)
    answer = Value(required=True, allow_none=True)
