"""A queue that the broker refuses: one of that name exists with other arguments, or may not be used."""

from __future__ import annotations

import amqp
from redis.exceptions import NoPermissionError

_REFUSALS = (amqp.AccessRefused, amqp.ResourceLocked, amqp.PreconditionFailed, NoPermissionError)
"""RabbitMQ's 403, 405 and 406, and Redis's NOPERM: they stay until somebody changes something there."""


def refusal_of(error: BaseException) -> str | None:
    """What the broker says against a queue; None where the error is another one."""
    return str(getattr(error, "reply_text", error)) if isinstance(error, _REFUSALS) else None
