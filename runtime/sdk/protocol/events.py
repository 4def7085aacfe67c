"""What a worker may say: one record for each line."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..messages import Json
from .values import Channel, MessageType, Role


@dataclass(frozen=True, slots=True)
class Delta:
    """Text to append to an open message; without ``ref``, to the implicit one."""

    ref: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Start:
    """A message begins; ``ref`` identifies it until its end."""

    ref: str
    role: Role = Role.ASSISTANT
    type: MessageType = MessageType.TEXT
    channel: Channel = Channel.ANSWER
    author: str | None = None
    data: dict[str, Json] = field(default_factory=dict)
    continues: str | None = None
    """The id of a message that an earlier attempt began, and that goes on instead."""


@dataclass(frozen=True, slots=True)
class End:
    """The message ``ref`` is complete; ``data`` is merged into its own."""

    ref: str
    data: dict[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class CompleteMessage:
    """A complete message in one event."""

    role: Role
    type: MessageType
    channel: Channel
    author: str | None
    content: str
    data: dict[str, Json]
    files: list[Json] = field(default_factory=list)
    """The ids of those that it names; of one that a run says, the pool puts in what they are."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the worker does next, as a sentence for the user."""

    description: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What the run has used so far, such as tokens."""

    data: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Discard:
    """What earlier attempts left to go on with is of no use: the run begins anew."""


@dataclass(frozen=True, slots=True)
class State:
    """What the worker keeps for the next run from its output state; None: nothing."""

    value: Json


@dataclass(frozen=True, slots=True)
class Finish:
    """The goal of the session that the run belongs to is reached: its loop ends with this run."""

    reason: str


@dataclass(frozen=True, slots=True)
class Send:
    """A message to another entity of the run's system, or to all that its channels lead to."""

    to: str | None
    """The name of an entity; None: as the channels say."""
    kind: str | None
    """``query`` or ``read``; None: as the channels say."""
    content: str
    data: dict[str, Json]
    reply_to: str | None = None
    """The entity that alone gets the answer."""


@dataclass(frozen=True, slots=True)
class Confirm:
    """The run waits for its user's answer."""

    id: str
    prompt: str
    options: list[str]
    schema: dict[str, Json] | None = None
    """JSON Schema of the answer."""
    digest: str | None = None
    """Of what is asked, by the worker; kept with the answer."""
    call: str | None = None
    """The id of the sub-run that has asked it; it is given the answer as well."""


@dataclass(frozen=True, slots=True)
class Save:
    """A value to commit, so that a later attempt has it; it is answered."""

    key: str
    value: str
    """JSON in ASCII."""
    digest: str | None = None
    """Of what was asked; given back with the value."""
    usage: dict[str, Json] | None = None
    """What it took to make it."""


@dataclass(frozen=True, slots=True)
class ReadInbox:
    """The next message that was sent to the run while it is under way; it is answered."""

    earlier: bool = False
    """Whether only what an earlier attempt has read is wanted."""
    number: int | None = None
    """Which look it is in this attempt, from 1, where who asks may ask again."""


@dataclass(frozen=True, slots=True)
class Call:
    """Another worker is to run; it is answered, and its result follows."""

    id: str
    worker_id: str
    messages: list[CompleteMessage]
    config: dict[str, Json] | None = None
    args: Json = None


@dataclass(frozen=True, slots=True)
class Follow:
    """The text of a sub-run is wanted as it comes."""

    id: str


@dataclass(frozen=True, slots=True)
class Done:
    """The run has succeeded."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The run has failed."""

    message: str
    retryable: bool
    retry_after: float | None = None
    """Seconds in which it is of no use to try again."""
    code: str = "worker_error"
    """What kind of error it is."""


Event = (
    Delta
    | Start
    | End
    | CompleteMessage
    | Step
    | Usage
    | State
    | Discard
    | Finish
    | Send
    | Confirm
    | Save
    | ReadInbox
    | Call
    | Follow
    | Done
    | Failed
)
