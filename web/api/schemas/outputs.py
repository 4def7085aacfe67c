"""The shapes of responses."""

from __future__ import annotations

from typing import Any

import marshmallow as ma
from marshmallow import fields

from runtime.model import Channel, MessageStatus, MessageType, QueueReason, Role, RunStatus, ThreadStatus
from runtime.registry.agents import AgentRole, AgentStyle
from runtime.transfer.kinds import Object, Value, one_of, says


class Output(ma.Schema):
    """The shape of a response. Every field is always present, unless its metadata says ``optional``."""

    class Meta:
        unknown = ma.EXCLUDE

    def on_bind_field(self, field_name: str, field_obj: ma.fields.Field[Any]) -> None:
        """Document the field as required."""
        field_obj.required = not field_obj.metadata.get("optional", False)


def moment(**options: Any) -> fields.String:
    """A time."""
    metadata = {"format": "date-time", **options.pop("metadata", {})}
    return fields.String(metadata=metadata, **options)


def identifier(**options: Any) -> fields.String:
    """The id of something."""
    metadata = {"format": "uuid", **options.pop("metadata", {})}
    return fields.String(metadata=metadata, **options)


def marks(what: str) -> fields.List[Any]:
    pair = fields.List(fields.Integer(), validate=ma.validate.Length(equal=2))
    how = f"{what}: pairs of the first and the one after the last, counted in Unicode code points"
    return fields.List(pair, metadata=says(how))


class User(Output):
    """An account."""

    id = identifier()
    email = fields.String()
    name = fields.String(allow_none=True)
    created_at = moment()


class Token(Output):
    """An API token; its secret is shown once, when it is made."""

    id = identifier()
    name = fields.String()
    created_at = moment()
    last_used_at = moment(allow_none=True)


class TokenWithSecret(Token):
    """A new API token."""

    secret = fields.String(metadata=says("send it as `Authorization: Bearer`"))


class NamedFile(Output):
    """A file as messages name it."""

    id = identifier()
    name = fields.String()
    type = fields.String(metadata=says("as `image/png`; found by looking at the content"))
    size = fields.Integer(metadata=says("bytes"))


class File(NamedFile):
    """What you have uploaded, or a run of yours has made."""

    run_id = identifier(allow_none=True, metadata=says("the run that has made it"))
    created_at = moment()


class Message(Output):
    """One message of a state."""

    id = identifier()
    state_id = identifier()
    position = fields.Integer()
    role = one_of(Role)
    type = one_of(MessageType)
    channel = one_of(Channel)
    author = fields.String(allow_none=True)
    content = fields.String(metadata=says("for an image: what it shows, in words"))
    data = Object(metadata=says("by type: `CodeData` is that of code, and so on; other names may be there"))
    files = fields.List(fields.Nested(NamedFile), metadata=says("that it names"))
    status = one_of(
        MessageStatus,
        metadata=says("`partial`: it is being written, or its run was cut off while it was"),
    )
    run_id = identifier(allow_none=True)
    created_at = moment(allow_none=True)


class QueuedMessage(Output):
    """A message to a run, that waits to be read."""

    id = identifier(metadata=says("of the message in the tree as well, where the worker of the run reads it"))
    run_id = identifier()
    role = one_of(Role)
    type = one_of(MessageType)
    channel = one_of(Channel)
    author = fields.String(allow_none=True)
    content = fields.String()
    data = Object()
    files = fields.List(fields.Nested(NamedFile))
    created_at = moment()


class State(Output):
    """A node of a thread."""

    id = identifier()
    thread_id = identifier()
    parent_id = identifier(allow_none=True)
    depth = fields.Integer()
    ordinal = fields.Integer(metadata=says("position among its siblings, from 0"))
    children = fields.Integer()
    run_id = identifier(allow_none=True, metadata=says("the run that fills it"))
    label = fields.String(allow_none=True)
    starred = fields.Boolean()
    created_at = moment()
    messages = fields.List(fields.Nested(Message), metadata={"optional": True})


class StateWithData(State):
    """A node of a thread, and what workers keep there."""

    data = fields.Raw(allow_none=True, metadata=says("what the next worker is given at this state"))


class Thread(Output):
    """A conversation."""

    id = identifier()
    title = fields.String(allow_none=True)
    worker_id = fields.String(allow_none=True)
    config = Object()
    metadata = Object()
    status = one_of(ThreadStatus)
    root_state_id = identifier()
    latest_state_id = identifier(metadata=says("created last"))
    created_at = moment()
    updated_at = moment()


class Hit(Output):
    """Where a thread has what was searched."""

    title_marks = marks("characters of the title that were found")
    state_id = identifier(
        allow_none=True,
        metadata=says("the newest state with a message that was found; null where only the title was"),
    )
    message_id = identifier(allow_none=True)
    snippet = fields.String(allow_none=True, metadata=says("some of the message, on one line"))
    marks = marks("characters of the snippet that were found")


class ListedThread(Thread):
    """A conversation in a list."""

    hit = fields.Nested(Hit, metadata={"optional": True, **says("only with `query`")})


class DeletedThread(Thread):
    """A conversation in the trash."""

    deleted_at = moment()
    restorable_until = moment()


class RunError(Output):
    """Why a run did not succeed."""

    code = fields.String(
        metadata=says(
            "`worker_error`: the worker reported it; `worker_crashed`: its process ended without a result; "
            "`output_too_large`, `timeout`: over a limit; `internal_error`: by a fault of Branchline; "
            "`start_failed`: it could not be started; `config_invalid`: its worker has changed, and its "
            "config does not fit any more; `lost`: each attempt was lost with its pool or host, or its "
            "machine could not make it; `cancelled`: it had not ended when its thread was exported"
        )
    )
    message = fields.String()
    retryable = fields.Boolean()
    log_tail = fields.String(metadata=says("the end of what the worker wrote to stderr"))


class Queue(Output):
    """What a queued run waits for."""

    position = fields.Integer(metadata=says("in its pool, from 1, as it would be served now"))
    pool = fields.String()
    pool_seen = fields.Boolean(metadata=says("whether a pool of that name is alive"))
    slots = fields.Integer()
    busy = fields.Integer()
    reason = one_of(QueueReason)
    message = fields.String(metadata=says("the reason as a sentence"))
    not_before = moment(allow_none=True)
    retry_after = fields.Float(allow_none=True, metadata=says("seconds until `not_before`"))


class RunWindow(Output):
    """What of a conversation a run was given that did not fit its window."""

    size = fields.Integer(metadata=says("how many of the newest messages it is given at most"))
    given = fields.Integer(metadata=says("how many messages it was given, those that go ahead included"))
    left_out = fields.Integer(metadata=says("how many messages before were left out"))
    goal = fields.List(identifier(), metadata=says("the messages in which a person said last what to do"))
    pinned = identifier(allow_none=True, metadata=says("the message that is the goal in place of these"))
    system = fields.List(identifier(), metadata=says("the system messages, the newest of them"))
    summary = fields.String(allow_none=True, metadata=says("the worker that sums up what is left out"))
    summed_up = fields.Integer(
        metadata=says("how many messages the summary covers that it was given, all from the first one on")
    )


class Run(Output):
    """One execution of a worker."""

    id = identifier()
    thread_id = identifier()
    parent_run_id = identifier(allow_none=True)
    call_id = fields.String(
        allow_none=True, metadata=says("of a sub-run: by what its parent, `parent_run_id`, calls it")
    )
    session_id = identifier(allow_none=True, metadata=says("the session whose turn it is"))
    turn = fields.Integer(allow_none=True, metadata=says("which one, from 1"))
    finish_reason = fields.String(
        allow_none=True, metadata=says("why its session is to go on no more, if its worker has said so")
    )
    has_children = fields.Boolean(metadata=says("whether its worker has called others"))
    input_state_id = identifier()
    output_state_id = identifier()
    worker_id = fields.String()
    worker_digest = fields.String()
    pool = fields.String()
    config = Object()
    args = Value(allow_none=True)
    status = one_of(RunStatus)
    attempt = fields.Integer()
    failures = fields.Integer()
    max_attempts = fields.Integer()
    timeout_seconds = fields.Float()
    priority = fields.Integer()
    error = fields.Nested(RunError, allow_none=True)
    last_failure = fields.Nested(
        RunError,
        allow_none=True,
        metadata=says("why the attempt before failed; null where it did not"),
    )
    usage = Object(allow_none=True)
    confirmation = Object(allow_none=True, metadata=says("the question of a waiting run"))
    sandbox = Object(
        allow_none=True,
        metadata=says(
            "what kept its last attempt in its place: `level`, and the measures `in_force`; "
            "null before the first one, and where the worker runs elsewhere"
        ),
    )
    steered = fields.Boolean(metadata=says("whether messages were sent to it while it was under way"))
    window = fields.Nested(
        RunWindow,
        allow_none=True,
        metadata=says("what of the conversation it was given; null where its window has left out nothing"),
    )
    cancel_requested_at = moment(allow_none=True)
    created_at = moment()
    started_at = moment(allow_none=True)
    finished_at = moment(allow_none=True)


class RunWithUsage(Run):
    """A run, and what those below it have used."""

    usage_below = Object(
        allow_none=True,
        metadata=says("what all sub-runs below it have used, at any depth; numbers add up. null: nothing"),
    )


class RunWithQueue(RunWithUsage):
    """A run, and why it has not started."""

    queue = fields.Nested(Queue, allow_none=True, metadata=says("null unless the run is queued"))


class WorkerVersion(Output):
    """A version of a worker, in the processes of its pool that are alive."""

    digest = fields.String()
    processes = fields.Integer(metadata=says("that have this version"))
    reason = fields.String(allow_none=True, metadata=says("why it cannot run in any of them"))


class Preset(Output):
    """A configuration of a worker to begin with."""

    name = fields.String()
    config = Object()


class Worker(Output):
    """A worker that can be asked to run."""

    id = fields.String()
    name = fields.String()
    description = fields.String()
    type = fields.String()
    pool = fields.String()
    config_schema = Object(metadata=says("the JSON Schema of its configuration"))
    role = one_of(AgentRole, metadata=says("what it is among agents"))
    style = one_of(AgentStyle, metadata=says("how its model says what it wants done"))
    accepts = fields.List(
        fields.String(), metadata=says("the types of files that it takes, as `image/*`; empty: it takes none")
    )
    presets = fields.List(fields.Nested(Preset), metadata=says("configurations to begin with"))
    choices = fields.Dict(
        fields.String(),
        fields.List(fields.String()),
        metadata=says("by field of the configuration, what may be chosen there, such as a server's models"),
    )
    available = fields.Boolean()
    reason = fields.String(allow_none=True, metadata=says("why it is not available"))
    slots = fields.Integer(metadata=says("of its pool"))
    busy = fields.Integer()
    digest = fields.String(metadata=says("identifies the version that is described"))
    rejected = fields.String(
        allow_none=True,
        metadata=says("why a pool does not take up the last change of its folder, and runs the one before"),
    )
    note = fields.String(
        allow_none=True,
        metadata=says("what its author should know, such as that its import keeps its runs from being forks"),
    )
    versions = fields.List(
        fields.Nested(WorkerVersion), metadata=says("those that its pool has; several while it is replaced")
    )


class TreeNode(Output):
    """A state as the tree shows it."""

    id = identifier()
    parent_id = identifier(allow_none=True)
    depth = fields.Integer()
    ordinal = fields.Integer()
    children = fields.Integer()
    preview = fields.String(allow_none=True)
    author = fields.String(allow_none=True)
    run_id = identifier(allow_none=True)
    run_status = fields.String(allow_none=True)
    worker_id = fields.String(allow_none=True)
    label = fields.String(allow_none=True)
    starred = fields.Boolean()
    created_at = moment()


class SiblingPosition(Output):
    """The position of a state among its siblings."""

    ordinal = fields.Integer()
    sibling_count = fields.Integer()
    previous_id = identifier(allow_none=True)
    next_id = identifier(allow_none=True)


def sibling_positions() -> fields.Dict:
    """The positions of the states on the path that a response shows."""
    description = says("by state id; the lowest state first, its ancestors after it")
    return fields.Dict(keys=fields.String(), values=fields.Nested(SiblingPosition), metadata=description)


def other_branches() -> fields.List[Any]:
    """Messages that are not on the path that a response shows."""
    description = says(
        "messages on other branches of the thread, in the states that unfinished runs are filling, so that "
        "a client can follow those runs too; a message that is still being written is in `open` instead"
    )
    return fields.List(fields.Nested(Message), metadata=description)


def step_counts(**metadata: Any) -> fields.Dict:
    """How many steps there are at ``/attempts``."""
    description = says(
        "by run id: how many steps its last attempt has reported; runs without steps are left out"
    )
    return fields.Dict(keys=fields.String(), values=fields.Integer(), metadata={**description, **metadata})


class OpenMessage(Output):
    """A message that is being written."""

    message = fields.Nested(Message)
    n = fields.Integer(metadata=says("the number of its last delta that is in `content`"))


class AttemptLog(Output):
    """What an attempt wrote besides its messages."""

    attempt = fields.Integer()
    text = fields.String()
    truncated = fields.Boolean(metadata=says("whether its beginning was dropped"))


class Step(Output):
    """One step that the worker reported."""

    number = fields.Integer()
    description = fields.String()
    at = moment()


class Attempt(Output):
    """One attempt of a run."""

    attempt = fields.Integer()
    messages = fields.List(fields.Nested(Message))
    steps = fields.List(fields.Nested(Step))


class Structure(Output):
    """The shape of a tree."""

    ids = fields.List(identifier())
    parents = fields.List(fields.Integer(), metadata=says("for each id the index of its parent; -1: none"))


class Problem(Output):
    """What went wrong (RFC 9457)."""

    class FieldProblem(Output):
        """One field that is wrong."""

        path = fields.String(metadata=says("messages.0.role"))
        pointer = fields.String(metadata=says("/messages/0/role"))
        message = fields.String()

    type = fields.String()
    title = fields.String()
    status = fields.Integer()
    detail = fields.String()
    request_id = fields.String(metadata={"description": "as in the log, and in the header X-Request-ID"})
    errors = fields.List(fields.Nested(FieldProblem), metadata={"optional": True})


def wrapped(name: str, **parts: Any) -> type[Output]:
    """The schema ``name`` of a response: an object with these parts.

    A part is a schema, a schema in a list for many, or a field.
    """
    return type(name, (Output,), {part: _part(kind) for part, kind in parts.items()})


def page_of(kind: type[Output]) -> type[Output]:
    """The schema of one page of a list."""
    return wrapped(f"{kind.__name__}Page", items=[kind], next=fields.String(allow_none=True))


def _part(kind: Any) -> Any:
    if isinstance(kind, list):
        return fields.List(fields.Nested(kind[0]))
    return fields.Nested(kind) if isinstance(kind, type) else kind
