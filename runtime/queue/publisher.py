"""The backlog: runs that are accepted and wait, and how they get to the broker.

A run is published only while its pool has fewer published and unclaimed than slots;
all others wait in the database, where cancelling them, their priority, fairness between
users and limits are SQL.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from celery import Celery

from runtime.errors import BrokerUnavailable, Unavailable
from runtime.queue import app as celery_app
from runtime.store import Database, backlog, pools

log = logging.getLogger(__name__)

_PAUSE = 1.0
"""Seconds in which a broker that did not answer is not asked again."""


class Backlog:
    """Publishes runs, and puts back what could not be published."""

    def __init__(self, database: Database, celery: Celery, lease: float, per_user: int = 0) -> None:
        """``lease``: seconds within which a pool must have reported itself to count.

        ``per_user``: how many runs of a user may run at once; 0 means any number.
        """
        self._database = database
        self._celery = celery
        self._lease = lease
        self._per_user = per_user
        self._away_until = 0.0

    def publish_next(self, pool: str) -> int:
        """Publish what the pool has room for. Returns how many runs that were."""
        tickets = self._database.engine.claim_for_publish(pool, self._lease, self._per_user)
        self.publish(tickets)
        return len(tickets)

    def publish_after(self, pool: str) -> int:
        """The same after runs of that pool have ended; their users may have others elsewhere."""
        names = {pool, *self._database.read(pools.names_with_backlog)} if self._per_user else {pool}
        return sum(self.publish_next(name) for name in names)

    def publish(self, tickets: Sequence[backlog.Ticket]) -> None:
        """Publish runs that are marked as published.

        Where the broker is away they go back to the backlog, from which the
        reaper publishes them later; nothing is raised, for nothing is lost.
        """
        done = 0
        try:
            for ticket in tickets:
                self._send(ticket)
                done += 1
        except BrokerUnavailable as error:
            unsent = [ticket.run_id for ticket in tickets[done:]]
            reason = f" ({error.__cause__})" if error.__cause__ else ""
            log.warning("the broker is away%s; the reaper publishes %d runs later", reason, len(unsent))
            try:
                self._database.write(backlog.unpublish, unsent)
            except Unavailable:
                log.warning("the database is away too; the reaper will notice by their age")

    def _send(self, ticket: backlog.Ticket) -> None:
        if time.monotonic() < self._away_until:
            raise BrokerUnavailable
        try:
            celery_app.publish(self._celery, ticket)
        except BrokerUnavailable:
            self._away_until = time.monotonic() + _PAUSE
            raise
