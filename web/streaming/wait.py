"""Waiting for a run to end, woken by its thread's log."""

from __future__ import annotations

import time
from contextlib import closing

import gevent

from runtime.errors import StreamUnavailable
from runtime.model import Run
from runtime.stream.entries import EMPTY
from web.core import Core

_LOOK_AGAIN = 0.5
"""Seconds between looks at the database while Redis cannot wake us."""


def until_ended(core: Core, run: Run, seconds: float) -> Run:
    """``run`` as it is once it has ended, or when ``seconds`` are over or this process is to stop."""
    until = time.monotonic() + seconds
    while not run.status.terminal and time.monotonic() < until and not core.stopping:
        try:
            run = _watch(core, run, until)
        except StreamUnavailable:
            gevent.sleep(min(_LOOK_AGAIN, max(0.0, until - time.monotonic())))
            run = _fresh(core, run)
    return run


def _watch(core: Core, run: Run, until: float) -> Run:
    """Follow the run until its stream ends or the time is over; looked up at each heartbeat."""
    with closing(core.hub.follow(run.thread_id, None, run.id)) as follower:
        run = _fresh(core, run)  # it may have ended before we began to listen
        with gevent.Timeout(max(0.001, until - time.monotonic()), False):  # type: ignore[arg-type]
            while not run.status.terminal:
                batch = next(follower, EMPTY)
                if batch is None:
                    run = _fresh(core, run)
                elif batch is EMPTY:
                    break
    return _fresh(core, run)


def _fresh(core: Core, run: Run) -> Run:
    return core.database.engine.get_run(run.workspace_id, run.id)
