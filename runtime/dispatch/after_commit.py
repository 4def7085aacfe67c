"""What follows a commit: its caller waits for it a moment, but not for a Redis or broker that hangs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec

import gevent

from runtime import logs

log = logging.getLogger(__name__)
P = ParamSpec("P")

_PATIENCE = 1.0
"""Seconds that a client waits for others to be notified of what is committed already."""


def after_commit(function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> bool:
    """Call ``function`` in a greenlet, and return once it has ended or a second is over.

    Then it goes on in the background. Returns whether it has ended. What it raises is logged:
    the commit stands, and the reaper makes up for what is missing.
    """

    def call() -> None:
        try:
            function(*args, **kwargs)
        except Exception:
            log.exception("what follows a commit failed; the reaper makes up for it")

    greenlet = gevent.spawn(logs.same(call))
    greenlet.join(_PATIENCE)
    return greenlet.ready()
