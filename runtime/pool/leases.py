"""Leases: the attempts that this pool process holds, and their renewal.

One statement for all attempts renews the leases, saves the text of open messages, and
returns which runs were cancelled or taken over. An attempt whose lease could not be
renewed is stopped shortly before the lease ends, so that no run is ever executed twice
at once because the database was out of reach. :meth:`Leases.stop_expiring` is called
from another greenlet than :meth:`Leases.renew`, because a database that does not answer
holds up the renewal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import replace

from runtime.errors import StoreUnavailable
from runtime.pool.attempt import Attempt, StopReason
from runtime.store import Database, attempts

log = logging.getLogger(__name__)

_MARGIN = 0.2
"""The part of a lease that is left when its attempt is stopped."""


class Leases:
    """The attempts of one pool process, by run."""

    def __init__(self, database: Database, incarnation: str, lease: float) -> None:
        """``incarnation`` names this process; ``lease`` in seconds."""
        self._database = database
        self._incarnation = incarnation
        self._lease = lease
        self._attempts: dict[str, Attempt] = {}

    def __len__(self) -> int:
        return len(self._attempts)

    def add(self, attempt: Attempt) -> None:
        """Renew the lease of this attempt from now on."""
        self._attempts[attempt.run.id] = attempt

    def remove(self, attempt: Attempt) -> None:
        """The attempt has ended."""
        if self._attempts.get(attempt.run.id) is attempt:
            del self._attempts[attempt.run.id]

    def cancel(self, run_id: str) -> None:
        """Stop the attempt of a run that was cancelled, if this process holds it."""
        if run_id in self._attempts:
            self._attempts[run_id].stop(StopReason.CANCELLED)

    def stop_all(self, reason: StopReason) -> None:
        """Stop every attempt."""
        for attempt in list(self._attempts.values()):
            attempt.stop(reason)

    def renew(self) -> bool:
        """Renew all leases; stop what is lost or cancelled. False where the database is away."""
        before = time.monotonic()
        held = {attempt.run.id: attempt for attempt in self._current()}
        try:
            renewed = self._write(held.values())
        except StoreUnavailable:
            log.warning("the database is away; %d leases were not renewed", len(held))
            for attempt in held.values():
                attempt.transcript.forget_saved()
            return False
        for run_id in renewed.lost:
            log.warning("run %s was taken over", run_id)
            held.pop(run_id).stop(StopReason.LOST)
        for attempt in held.values():
            attempt.lease_until = before + self._lease
        for run_id in renewed.cancelled:
            held[run_id].stop(StopReason.CANCELLED)
        return True

    def _write(self, held: Collection[Attempt]) -> attempts.Renewed:
        """Renew them, without their texts if one of those is refused: it must not cost others their lease."""
        leases = [attempt.held_lease() for attempt in held]
        try:
            return self._database.write(attempts.renew, self._incarnation, leases, self._lease)
        except StoreUnavailable:
            raise
        except Exception:
            if not any(lease.open or lease.usage for lease in leases):
                raise
            log.exception("open text cannot be saved; %d leases are renewed without it", len(leases))
            for attempt in held:
                attempt.transcript.forget_saved()
            without = [replace(lease, open=(), usage=None) for lease in leases]
            return self._database.write(attempts.renew, self._incarnation, without, self._lease)

    def stop_expiring(self) -> None:
        """Stop every attempt whose lease is about to end."""
        deadline = time.monotonic() + _MARGIN * self._lease
        for attempt in self._current():
            if attempt.lease_until <= deadline:
                log.warning("run %s is stopped: its lease could not be renewed", attempt.run.id)
                attempt.stop(StopReason.LOST)

    def _current(self) -> list[Attempt]:
        """The attempts that are not lost."""
        return [attempt for attempt in self._attempts.values() if attempt.stopped is not StopReason.LOST]
