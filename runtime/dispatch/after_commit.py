"""What follows a commit: its caller waits for it a moment, but not for a Redis or broker that hangs."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec

import gevent

from runtime import logs

P = ParamSpec("P")

_PATIENCE = 1.0
"""Seconds that a client waits for others to be notified of what is committed already."""


def after_commit(function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> bool:
    """Call ``function`` in a greenlet, and return once it has ended or a second is over.

    Then it goes on in the background. Returns whether it has ended.
    """
    greenlet = gevent.spawn(logs.same(function), *args, **kwargs)
    greenlet.join(_PATIENCE)
    return greenlet.ready()
