"""What an error of the broker means: the broker is away or refuses, or the fault is ours.

A run that could not be published stays in the database, and is published later. So it
costs nothing to count everything as an absence that RabbitMQ closes a channel or a
connection with, and a queue that it refuses; a message that cannot be made is our fault.

Every class that kombu and amqp define is in a table here, and those of redis-py in
:mod:`runtime.stream.failures`; ``tests/integration/pool/test_broker_errors.py`` fails when a new
version brings one that is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from amqp import exceptions as amqp
from kombu import exceptions as kombu

from runtime.stream import failures


def is_away(error: BaseException) -> bool:
    """Whether this error says that the broker is away or refuses, or that the connection has ended."""
    kind = next((kind for kind in type(error).__mro__ if kind in AWAY), None)
    return failures.is_away(error) if kind is None else AWAY[kind]


AWAY: Mapping[type[BaseException], bool] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                amqp.AMQPError,  # with any of them RabbitMQ closes the channel or the connection
                amqp.AMQPNotImplementedError,
                amqp.AccessRefused,
                amqp.Blocked,
                amqp.ChannelError,
                amqp.ChannelNotOpen,
                amqp.ConnectionError,
                amqp.ConnectionForced,
                amqp.ConsumerCancelled,
                amqp.ContentTooLarge,
                amqp.FrameError,
                amqp.FrameSyntaxError,
                amqp.InternalError,
                amqp.InvalidCommand,
                amqp.InvalidPath,
                amqp.IrrecoverableChannelError,
                amqp.IrrecoverableConnectionError,
                amqp.MessageNacked,
                amqp.NoConsumers,
                amqp.NotAllowed,
                amqp.NotFound,
                amqp.PreconditionFailed,
                amqp.RecoverableChannelError,
                amqp.RecoverableConnectionError,
                amqp.ResourceError,
                amqp.ResourceLocked,
                amqp.UnexpectedFrame,
                kombu.BatchPublishError,
                kombu.ChannelLimitExceeded,
                kombu.ConnectionLimitExceeded,
                kombu.HttpError,
                kombu.InconsistencyError,  # Redis has lost what kombu keeps there
                kombu.LimitExceeded,
                kombu.OperationalError,  # also put around every error of redis-py's that is an answer
            ),
            True,
        ),
        **dict.fromkeys(
            (
                kombu.KombuError,
                kombu.ContentDisallowed,
                kombu.DecodeError,
                kombu.EncodeError,
                kombu.MessageStateError,
                kombu.NotBoundError,
                kombu.SerializationError,
                kombu.SerializerNotInstalled,
                kombu.VersionMismatch,
            ),
            False,
        ),
    }
)
"""Each class of the errors of kombu and amqp."""
