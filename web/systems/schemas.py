"""What clients send of systems, and what they are shown."""

from __future__ import annotations

from marshmallow import fields, validate

from runtime.systems.definition import Kind, Pick, WhenFull
from runtime.systems.model import MessageStatus, SystemStatus
from runtime.systems.problems import Code, Severity
from runtime.transfer import kinds
from runtime.transfer.kinds import (
    MAX_TIMEOUT,
    Config,
    Flag,
    Object,
    Several,
    integer,
    named,
    one_of,
    says,
)
from web.api.schemas import outputs, queries
from web.api.schemas.inputs import Input, MessageBody

MOST_ENTITIES = 200
MOST_CHANNELS = 1000
_MOST_TERMS = 20
"""Components that one end of a channel may be chosen by."""
_MOST_MESSAGES = 1_000_000


class SystemLimits(Input):
    """What all that follows from one message may use."""

    hops = integer(
        1,
        1000,
        load_default=None,
        allow_none=True,
        metadata=says("entities that it may pass, one after the other"),
    )
    messages = integer(1, _MOST_MESSAGES, load_default=None, allow_none=True)
    time = kinds.Number(
        load_default=None,
        allow_none=True,
        validate=validate.Range(0, MAX_TIMEOUT, min_inclusive=False),
        metadata=says("seconds"),
    )


class Mailbox(Input):
    """Where messages to an entity wait for it."""

    size = integer(1, 100_000, load_default=100, metadata=says("messages"))
    when_full = one_of(WhenFull, load_default=WhenFull.WAIT.value)


class Entity(Input):
    """One part of a system: a worker, with a config, that is sent messages."""

    name = kinds.entity(required=True, metadata=says("by which channels know it"))
    worker_id = kinds.worker_id(required=True)
    config = Config(load_default=dict)
    components = Object(
        load_default=dict,
        metadata=says("what it can do or is, by name: true, false, a number or a text"),
    )
    mailbox = fields.Nested(Mailbox, load_default=lambda: Mailbox().load({}))
    concurrency = integer(1, 100, load_default=1, metadata=says("messages that it handles at once"))
    accepts = Object(
        load_default=None,
        allow_none=True,
        metadata=says("JSON Schema of the bodies that it takes, `{content, data}`"),
    )
    answers = Object(
        load_default=None,
        allow_none=True,
        metadata=says("JSON Schema of the bodies that it sends"),
    )
    entry = Flag(
        load_default=False,
        metadata=says("messages come to it from outside, so the check asks for no channel to it"),
    )


class Channel(Input):
    """From whom messages go to whom. `with` stands for one of `from` and `to`."""

    from_ = kinds.entity(data_key="from", attribute="from", load_default=None, allow_none=True)
    to = kinds.entity(load_default=None, allow_none=True)
    with_ = Several(
        named(300),
        data_key="with",
        attribute="with",
        load_default=list,
        validate=validate.Length(max=_MOST_TERMS, error="may have {max} components"),
        metadata=says(
            "components that the entities at the end that is not named have: `search`, or `language:de`"
        ),
    )
    pick = one_of(
        Pick,
        load_default=None,
        allow_none=True,
        metadata=says("whom of those; only without `to`"),
    )
    kind = one_of(Kind, required=True)
    when = Object(
        load_default=None,
        allow_none=True,
        metadata=says("what passes: `contains` a text, and `data` with values of names in the data"),
    )
    map = Object(
        load_default=None,
        allow_none=True,
        metadata=says(
            "what becomes of the body: `content` and `data`, with `{content}` and `{data.name}` of before"
        ),
    )
    errors = Flag(load_default=False, metadata=says("errors pass, too"))


class SystemDefinition(Input):
    """What a system is made of."""

    name = named(100, required=True)
    limits = fields.Nested(SystemLimits, load_default=lambda: SystemLimits().load({}))
    entities = Several(
        fields.Nested(Entity),
        required=True,
        validate=validate.Length(1, MOST_ENTITIES, error="must have {min} to {max} entities"),
    )
    channels = Several(
        fields.Nested(Channel),
        load_default=list,
        validate=validate.Length(max=MOST_CHANNELS, error="may have {max} channels"),
    )


class SystemProblem(outputs.Output):
    """One thing that is wrong with a definition."""

    code = one_of(Code)
    severity = one_of(Severity, metadata=says("in spite of warnings it could be started"))
    path = fields.String(metadata=says("where, as in `entities.0.name`"))
    message = fields.String()


PROBLEMS = outputs.wrapped("SystemProblemsAnswer", problems=fields.List(fields.Nested(SystemProblem)))


class SystemsQuery(queries.Limited):
    """Which systems."""


class DeadLettersQuery(queries.Limited):
    """Which dead letters of a system."""


class StopSystem(Input):
    """How a system is stopped."""

    required_body = False

    drain = Flag(load_default=True, metadata=says("first end what is under way"))


class NewSystemMessage(Input):
    """A message to an entity."""

    to = kinds.entity(required=True, metadata=says("the name of the entity"))
    kind = one_of(Kind, required=True, metadata=says("a `query` is answered, a `read` is not"))
    body = fields.Nested(MessageBody, required=True)
    reply_to = kinds.entity(
        load_default=None, allow_none=True, metadata=says("the entity that alone gets the answer")
    )
    priority = kinds.priority(load_default=0)
    deadline = kinds.Number(
        load_default=None,
        allow_none=True,
        validate=validate.Range(0, MAX_TIMEOUT, min_inclusive=False),
        metadata=says("seconds for all that follows from it; default: the system's `time`"),
    )


class LivingMailbox(outputs.Output):
    """The mailbox of an entity, and how many messages wait there."""

    size = fields.Integer()
    when_full = one_of(WhenFull)
    waiting = fields.Integer()


class LivingEntity(outputs.Output):
    """An entity of a system."""

    id = outputs.identifier()
    name = fields.String()
    worker_id = fields.String()
    config = Object()
    components = Object()
    mailbox = fields.Nested(LivingMailbox)
    concurrency = fields.Integer()
    working = fields.Integer(metadata=says("messages that it handles now"))
    entry = fields.Boolean()


class SystemSummary(outputs.Output):
    """A system, without its entities."""

    id = outputs.identifier()
    name = fields.String()
    status = one_of(SystemStatus)
    version = fields.Integer()
    created_at = outputs.moment()
    updated_at = outputs.moment()


class System(SystemSummary):
    """A system."""

    entities = fields.List(fields.Nested(LivingEntity))


class SystemMessage(outputs.Output):
    """A message to an entity."""

    id = outputs.identifier()
    correlation_id = outputs.identifier(metadata=says("shared by all that has followed from one message"))
    cause_id = outputs.identifier(allow_none=True, metadata=says("the message that has caused it"))
    from_ = fields.String(
        data_key="from", allow_none=True, metadata=says("the entity that has sent it; null: from outside")
    )
    to = fields.String(allow_none=True)
    kind = one_of(Kind)
    body = Object()
    error = fields.Boolean(metadata=says("whether it says that a query has failed"))
    reply_to = fields.String(allow_none=True)
    priority = fields.Integer()
    hops = fields.Integer(metadata=says("entities that it has passed"))
    number = fields.Integer(allow_none=True, metadata=says("in the mailbox, from 1"))
    status = one_of(MessageStatus)
    reason = fields.String(allow_none=True, metadata=says("why it has failed, or is a dead letter"))
    answer = Object(allow_none=True, metadata=says("to a query: the body of its answer, or of its error"))
    run_id = outputs.identifier(allow_none=True, metadata=says("the run that handles it"))
    created_at = outputs.moment()
    deadline = outputs.moment(allow_none=True)
    started_at = outputs.moment(allow_none=True)
    ended_at = outputs.moment(allow_none=True)


SYSTEM = outputs.wrapped("SystemAnswer", system=System)
MESSAGE = outputs.wrapped("SystemMessageAnswer", message=SystemMessage)
STORY = outputs.wrapped(
    "SystemStoryAnswer", message=SystemMessage, caused=fields.List(fields.Nested(SystemMessage))
)
