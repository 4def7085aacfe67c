"""An attempt: one try of a run, while this process holds its lease."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum

from gevent.event import Event

from runtime.child import Child, RemoteChild
from runtime.model import Run
from runtime.pool.transcript import Transcript
from runtime.store.attempts import Claim, HeldLease


class Stop(StrEnum):
    """Why we end an attempt that has not ended by itself."""

    CANCELLED = "cancelled"
    """Its user wants it to end."""
    TIMEOUT = "timeout"
    """It has run as long as it may."""
    DRAIN = "drain"
    """This pool shuts down; another one is to go on."""
    LOST = "lost"
    """The lease is no longer ours, or may not be by the time we would write."""
    TOO_LARGE = "too_large"
    """It wrote more than it may."""


class Attempt:
    """What this process knows of a run that it executes."""

    def __init__(self, claim: Claim, transcript: Transcript, lease_until: float) -> None:
        """``lease_until`` by ``time.monotonic()``, counted from before the claim."""
        self.claim = claim
        self.transcript = transcript
        self.lease_until = lease_until
        self.child: Child | RemoteChild | None = None
        self.stopped: Stop | None = None
        self.wake = Event()
        """Set when there is something to relay, or to stop for."""
        self.on_stop: Callable[[Stop], None] | None = None

    @property
    def run(self) -> Run:
        """The run as it was claimed."""
        return self.claim.run

    def stop(self, why: Stop) -> None:
        """End it; the first reason counts, but a lost lease beats every other."""
        if self.stopped is not None and why is not Stop.LOST:
            return
        self.stopped = why
        self.wake.set()
        if self.on_stop is not None:
            self.on_stop(why)

    @property
    def lost(self) -> bool:
        """Whether somebody else may be executing the run by now."""
        return self.stopped is Stop.LOST or time.monotonic() > self.lease_until

    def held(self) -> HeldLease:
        """What the next renewal of the lease says and saves of it."""
        return HeldLease(self.run.id, self.run.attempt, self.transcript.unsaved_messages())
