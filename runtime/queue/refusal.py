"""A queue that RabbitMQ refuses: one of that name exists with other arguments, or may not be used."""

from __future__ import annotations

import amqp

_REFUSALS = (amqp.AccessRefused, amqp.ResourceLocked, amqp.PreconditionFailed)
"""403, 405 and 406: they stay until somebody changes something at the broker."""


def refusal_of(error: BaseException) -> str | None:
    """What RabbitMQ says against a queue; None where the error is another one."""
    return str(error.reply_text) if isinstance(error, _REFUSALS) else None
