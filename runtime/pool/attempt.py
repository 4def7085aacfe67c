"""An attempt: one try of a run, while this process holds its lease."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

from gevent.event import Event

from runtime.child import Child
from runtime.model import Run
from runtime.pool.transcript import Transcript
from runtime.store.attempts import Claim, HeldLease


class StopReason(StrEnum):
    """Why this process ends an attempt that has not ended by itself."""

    CANCELLED = "cancelled"
    """A user cancelled the run. Set by a notice, or by the renewal of the lease."""
    TIMEOUT = "timeout"
    """The run has reached its time limit. Set by the attempt's runner."""
    DRAIN = "drain"
    """This process shuts down, and another one is to execute the run. Set by the drain."""
    LOST = "lost"
    """The lease has gone to another process, or ends before it can be renewed. Set by the leases."""
    TOO_LARGE = "too_large"
    """The worker wrote more than it may. Set by the relay."""


class Attempt:
    """A run that this process executes: its lease, its child, and its output so far."""

    def __init__(self, claim: Claim, transcript: Transcript, lease_until: float) -> None:
        """``lease_until`` by ``time.monotonic()``, counted from before the claim."""
        self.claim = claim
        self.transcript = transcript
        self.lease_until = lease_until
        self.deadline = float("inf")
        """When its time is over, by ``time.monotonic()``."""
        self.child: Child | None = None
        self.stopped: StopReason | None = None
        self.wake = Event()
        """Set when there is something to relay, or to stop for."""
        self.on_stop: Callable[[StopReason], None] | None = None

    @property
    def run(self) -> Run:
        """The run as it was claimed."""
        return self.claim.run

    def stop(self, reason: StopReason) -> None:
        """End it. The first reason counts, except that LOST replaces every other."""
        if self.stopped is not None and reason is not StopReason.LOST:
            return
        self.stopped = reason
        self.wake.set()
        if self.on_stop is not None:
            self.on_stop(reason)

    @property
    def lost(self) -> bool:
        """Whether another process may be executing the run by now."""
        return self.stopped is StopReason.LOST or time.monotonic() > self.lease_until

    def held_lease(self) -> HeldLease:
        """The lease to renew, with the text that is to be saved along with it."""
        transcript = self.transcript
        return HeldLease(
            self.run.id, self.run.attempt, transcript.unsaved_messages(), transcript.unsaved_usage()
        )
