"""Leases: the attempts that this pool process holds, and what keeps them its own.

One statement for all of them renews the leases, saves the text that has grown, and
learns which runs were cancelled or taken over. An attempt whose lease could not
be renewed in time is stopped before the lease ends, so that no run is ever
executed twice at once because a database was out of reach. That is watched apart
from the renewing, which a database that is silent holds up.
"""

from __future__ import annotations

import logging
import time

from runtime.errors import StoreUnavailable
from runtime.pool.attempt import Attempt, Stop
from runtime.store import Database, attempts, recovery

log = logging.getLogger(__name__)

_MARGIN = 0.2
"""How much of a lease is left when its attempt is stopped, as part of its length."""


class Leases:
    """The attempts of one pool process, by run."""

    def __init__(self, database: Database, incarnation: str, lease: float) -> None:
        """``incarnation`` names this process; ``lease`` in seconds."""
        self._database = database
        self._incarnation = incarnation
        self._lease = lease
        self._attempts: dict[str, Attempt] = {}
        self._ended: list[str] = []

    def __len__(self) -> int:
        return len(self._attempts)

    def take(self, attempt: Attempt) -> None:
        """From now on this attempt is kept alive."""
        self._attempts[attempt.run.id] = attempt

    def drop(self, attempt: Attempt) -> None:
        """It has ended."""
        if self._attempts.get(attempt.run.id) is attempt:
            del self._attempts[attempt.run.id]

    def announced(self, run_id: str) -> None:
        """The end of this run is in the event log; noted in the database soon, many at once."""
        self._ended.append(run_id)

    def cancel(self, run_id: str) -> None:
        """The user of this run wants it to end."""
        if run_id in self._attempts:
            self._attempts[run_id].stop(Stop.CANCELLED)

    def stop_all(self, why: Stop) -> None:
        """End every attempt."""
        for attempt in list(self._attempts.values()):
            attempt.stop(why)

    def of(self, run_id: str) -> Attempt | None:
        """The attempt of a run that this process holds."""
        return self._attempts.get(run_id)

    def renew(self) -> bool:
        """Renew all; stop what is lost or cancelled. False where the database is away."""
        before = time.monotonic()
        held = {attempt.run.id: attempt for attempt in self._kept()}
        try:
            renewed = self._database.write(
                attempts.renew, self._incarnation, [attempt.held() for attempt in held.values()], self._lease
            )
        except StoreUnavailable:
            log.warning("the database is away; %d leases were not renewed", len(held))
            for attempt in held.values():
                attempt.transcript.forget_saved()
            return False
        for run_id in renewed.lost:
            log.warning("run %s was taken over", run_id)
            held.pop(run_id).stop(Stop.LOST)
        for attempt in held.values():
            attempt.lease_until = before + self._lease
        for run_id in renewed.cancelled:
            held[run_id].stop(Stop.CANCELLED)
        return True

    def stop_expiring(self) -> None:
        """Stop every attempt whose lease is about to end."""
        deadline = time.monotonic() + _MARGIN * self._lease
        for attempt in self._kept():
            if attempt.lease_until <= deadline:
                log.warning("run %s is stopped: its lease could not be renewed", attempt.run.id)
                attempt.stop(Stop.LOST)

    def mark_announced(self) -> None:
        """Note in the database what was announced since the last time."""
        ended, self._ended = self._ended, []
        if not ended:
            return
        try:
            self._database.write(recovery.mark_announced, ended)
        except StoreUnavailable:
            self._ended = ended + self._ended

    def _kept(self) -> list[Attempt]:
        """What is still to be kept alive."""
        return [attempt for attempt in self._attempts.values() if attempt.stopped is not Stop.LOST]
