"""Waiting for a run to end, woken by its thread's log."""

from __future__ import annotations

import time
from contextlib import closing

import gevent

from runtime.errors import StreamUnavailable
from runtime.model import Run
from runtime.stream.entries import EMPTY
from web.core import Core

_POLL_INTERVAL = 0.5
"""Seconds between reads of the database while Redis is away."""


def until_ended(core: Core, run: Run, seconds: float) -> Run:
    """``run`` as it is once it has ended, or when ``seconds`` are over or this process is to stop."""
    until = time.monotonic() + seconds
    while not run.status.terminal and time.monotonic() < until and not core.stopping:
        try:
            run = _watch(core, run, until)
        except StreamUnavailable:
            gevent.sleep(min(_POLL_INTERVAL, max(0.0, until - time.monotonic())))
            run = _reload(core, run)
    return run


def _watch(core: Core, run: Run, until: float) -> Run:
    """Follow the run until its stream ends or the time is over; it is reloaded at each heartbeat."""
    with closing(core.hub.follow(run.thread_id, None, run.id)) as follower:
        run = _reload(core, run)  # it may have ended before it was followed
        with gevent.Timeout(max(0.001, until - time.monotonic()), False):  # type: ignore[arg-type]
            while not run.status.terminal:
                batch = next(follower, EMPTY)
                if batch is None:
                    run = _reload(core, run)
                elif batch is EMPTY:
                    break
    return _reload(core, run)


def _reload(core: Core, run: Run) -> Run:
    return core.database.engine.get_run(run.workspace_id, run.id)
