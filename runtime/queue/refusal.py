"""A refusal: the broker answers, but does not let us use a queue, or sign in. An operator has to mend it."""

from __future__ import annotations

import amqp
from redis.exceptions import AuthenticationError, NoPermissionError

_REFUSALS = (
    amqp.AccessRefused,  # 403: the password, or the right to the queue
    amqp.NotFound,  # 404: an exchange or a queue
    amqp.ResourceLocked,  # 405: another connection has it for itself
    amqp.PreconditionFailed,  # 406: there is one with other arguments
    amqp.NotAllowed,  # 530: the virtual host, or the right to it
    AuthenticationError,
    NoPermissionError,
)
"""They stay until somebody changes something at the broker, or our settings."""


def refusal_of(error: BaseException) -> str | None:
    """What the broker says against us; None where the error, and what caused it, is another one."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, _REFUSALS):
        cause = cause.__cause__
    return str(getattr(cause, "reply_text", cause)) if cause is not None else None
