"""The drain: how a pool process shuts down without losing a run.

It claims nothing more and lets its runs finish for a while. Runs that have not finished by then
go back to the queue, and another process executes them.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable

import gevent

from runtime.pool.attempt import StopReason
from runtime.pool.executor import Executor
from runtime.pool.isolation import IsolatedProcesses
from runtime.pool.leases import Leases
from runtime.settings import PoolSettings

log = logging.getLogger(__name__)

_POLL = 0.05
"""Seconds between two looks whether all runs have ended."""


class Drain:
    """Shuts down one pool process, once it is started."""

    def __init__(
        self,
        settings: PoolSettings,
        executor: Executor,
        leases: Leases,
        isolated: IsolatedProcesses | None,
        on_start: Callable[[], None],
        on_end: Callable[[], None],
    ) -> None:
        """``on_start`` is called in a greenlet of its own, ``on_end`` when no run is left here."""
        self._settings = settings
        self._executor = executor
        self._leases = leases
        self._isolated = isolated
        self._on_start = on_start
        self._on_end = on_end
        self._deadline = float("inf")
        """When the runs that are left are handed back, by ``time.monotonic()``."""

    def start(self, **_: object) -> None:
        """Begin to drain. This is called in a signal handler, so it does not wait."""
        if not self._executor.draining:
            self._executor.draining = True
            self._deadline = time.monotonic() + self._settings.drain
            gevent.spawn(self._run)

    def hurry(self) -> None:
        """Hand the runs back now. This is called in a signal handler, so it does not wait."""
        self.start()
        self._deadline = time.monotonic()
        self._signal_isolated(signal.SIGUSR2)

    def _run(self) -> None:
        self._signal_isolated(signal.SIGTERM)
        log.info("draining: %d runs have %g s to finish", len(self._leases), self._settings.drain)
        gevent.spawn(self._on_start)
        while self._executor.executing and time.monotonic() < self._deadline:
            gevent.sleep(_POLL)
        self._hand_back()
        self._on_end()

    def _hand_back(self) -> None:
        """Stop every attempt until none is left. When a lease has passed, other processes have the runs."""
        until = time.monotonic() + self._settings.lease
        while self._executor.executing and time.monotonic() < until:
            self._leases.stop_all(StopReason.DRAIN)
            gevent.sleep(_POLL)

    def _signal_isolated(self, number: int) -> None:
        if self._isolated is not None:
            self._isolated.signal(number)
